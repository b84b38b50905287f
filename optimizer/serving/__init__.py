"""Services: the best fleet of workers for requests within limits, proved, judged, explained and replayed.

Search        `solve` (ceilings, mix) -> `places`, `deployment` (workers with every decision made) -> `run`; `front`, `front_picture`
Verdicts      `judge` -> `explain`
Replay        `asking`, `arrivals`, `traces` -> `agenda`, `prefilling`, `decoding`, `prices` -> `simulate` -> `waits`, `means`, `replaying`
Queues        `queueing`: waits by formula
Presented by  `report`, `losses` (of a node), `shortfall` (why nothing serves), `text`, `shortfall_text`, `explanation`, `replay_text`;
              called by `commands` and by `optimizer.simulate`
"""
