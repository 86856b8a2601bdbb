"""Time, memory and energy of workloads, each observed in a pass of its own."""
