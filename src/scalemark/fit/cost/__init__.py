"""Cost laws: step time, memory and energy as sums of non-negative physical terms, with rivals to beat.

terms ─> solver ─> fitting ─> time | memory | energy ─> predict
                      │
      rivals, breaks ─┘        table: the same fit for published measurements
"""
