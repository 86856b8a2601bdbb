"""Cost laws: step time, memory and energy as sums of non-negative physical terms, with rivals to beat.

terms ─> problem ─> choosing ─> solver ─> draws ─> fitting ─> hidden ─> time_law, memory_law, energy_law ─> predict
                                                              │
                                             rivals, breaks ──┘     columns ─> table: published measurements
"""
