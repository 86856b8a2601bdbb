"""Training steps on several ranks of torch.distributed: what is spread, how it is timed, and what if one dies.

    campaign ─> launch (a worker) ─> torch's elastic agent ─┬─> rank 0 ── results ──> back through launch
                                                            └─> rank 1, …
    torchrun ─> `scalemark measure` ────────────────────────┬─> rank 0 ── results ──> the journal
                                                            └─> rank 1, …

It is a part of `measure` because it times rounds as its other parts do; `campaign`, `orders` and `selection` need no
torch. What the times say of links and of more ranks is fitted elsewhere (`scalemark.fit.communication`, `.scaling`).
"""
