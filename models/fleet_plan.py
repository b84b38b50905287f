"""A fleet as a user writes it, and what each of its workers yields when it is priced as it stands."""

from collections.abc import Iterator
from typing import Annotated, NamedTuple

from pydantic import Field, field_validator

from models.cuts import Cut
from models.evaluate import evaluate, stage_memory
from models.fleet import Role
from models.passes import Passes, Times
from models.record import Name, Record, StopAtFirst
from models.rules import context_covers, slots, stages_cover, strategy_violations, violations
from models.strategy import Degree, Degrees, Plan, Ranks, rank_order
from models.units import PPM
from models.violation import Violation
from models.workers import MOST_BATCH, Figures, Workers

WAITS = {"ttft": "the time to the first token", "tpot": "the time per output token", "request": "the time of a whole request"}


class WorkerFile(Record):
    """So many workers alike; only role and degrees are needed, the rest is chosen best when absent."""

    role: Role
    pool: Name | None = Field(default=None, description="absent: the only pool")
    count: Annotated[int, Field(ge=1, le=65_536)] = 1
    degrees: Degrees
    order: str | None = None
    stages: Annotated[tuple[Degree, ...], StopAtFirst()] | None = Field(default=None, max_length=1000, description="layers of each stage")
    placement: Annotated[tuple[Ranks, ...], StopAtFirst()] | None = Field(
        default=None, max_length=1000, description="experts of each EP rank, for each MoE layer"
    )
    batch: Degree | None = Field(default=None, description="prompts or sequences of each data-parallel rank and micro-batch")
    chunks: Degree | None = Field(default=None, description="that a prompt is prefilled in")

    _order_exists = field_validator("order")(rank_order)


class FleetFile(Record):
    """A fleet plan."""

    name: Name | None = None
    workers: Annotated[tuple[WorkerFile, ...], StopAtFirst()] = Field(min_length=1, max_length=1000)


class Deployed(NamedTuple):
    """A worker with every decision made."""

    cut: Cut
    batch: int
    plan: Plan


def passes_of(workers: Workers, worker: Deployed) -> Iterator[tuple[Passes, int]]:
    """The passes that a worker makes, each with its sequences; the one that memory and batch count in comes first."""
    s = worker.cut.strategy
    yield workers.sizing(worker.cut), worker.batch * s.dp * s.pp
    if workers.role == "aggregated":
        yield workers.prefill(worker.cut.chunks), s.dp * s.pp


def times_of(workers: Workers, worker: Deployed) -> Times:
    """The times of a worker's passes under its own stages and placement."""
    s, found = worker.cut.strategy, []
    for passes, sequences in passes_of(workers, worker):
        bounds = passes.of(sequences)
        evaluation = evaluate(bounds.instance, worker.plan, bounds.terms)
        found.append((max(stage.ns for stage in evaluation.stages), bounds.terms.transfer(s, bounds.terms.shape(s)).ns))
    match workers.role:
        case "prefill":
            return Times(*found[0], 0, 0)
        case "decode":
            return Times(0, 0, *found[0])
        case "aggregated":
            return Times(*found[1], *found[0])


def breakdown_of(workers: Workers, worker: Deployed) -> dict[str, int]:
    """Where the time of its passes through all stages goes, ns by term: a decode step, or the chunks of prompts.

    Of an aggregated worker, while each of its sequences is served once: output tokens * step, and the interfering share of each prefill.
    """
    found: dict[str, int] = {}
    for (passes, sequences), times_ppm in zip(passes_of(workers, worker), _times_made_ppm(workers, worker), strict=True):
        bounds = passes.of(sequences)
        for term, ns in evaluate(bounds.instance, worker.plan, bounds.terms).breakdown.items():
            if term not in ("pipeline_bubble", "pp_comm"):  # other micro-batches fill the bubble
                found[term] = found.get(term, 0) + times_ppm * ns // PPM
    return found


def _times_made_ppm(workers: Workers, worker: Deployed) -> tuple[int, ...]:
    """How often each of `passes_of` counts, in millionths."""
    (chunks, held), service = (worker.cut.chunks, worker.batch * worker.cut.strategy.pp), workers.service
    match workers.role:
        case "prefill":
            return (chunks * PPM,)
        case "decode":
            return (PPM,)
        case "aggregated":
            return service.workload.output_tokens * PPM, chunks * held * service.runtime.interference_ppm


def figures_of(workers: Workers, worker: Deployed) -> Figures:
    """What a worker that keeps the rules yields."""
    return workers.figures(worker.cut, times_of(workers, worker), worker.batch, worker.batch)


def counted_rate(workers: Workers, figures: Figures) -> int:
    """Requests in 10**9 s that are counted on, rounded down."""
    return figures.counted(workers.service.workload.utilisation_ppm(workers.role))


def memory_of(workers: Workers, worker: Deployed) -> list[dict[str, int]]:
    """Bytes of one GPU of each stage by part."""
    passes, sequences = next(passes_of(workers, worker))
    return stage_memory(passes.of(sequences).terms, worker.plan)


def worker_violations(workers: Workers, worker: Deployed) -> list[Violation]:
    """Every rule that one worker breaks: those on what it is, and, where it can be laid out, memory and the limits on waits."""
    found = [*worker_domain(workers, worker), *in_flight(workers, worker), *structural_violations(workers, worker)]
    if is_whole(workers, worker):
        passes, sequences = next(passes_of(workers, worker))
        bounds = passes.of(sequences)
        found += violations(bounds.instance, worker.plan, bounds.terms)
        found += limit_violations(workers, figures_of(workers, worker))
    return found


def is_whole(workers: Workers, worker: Deployed) -> bool:
    """Whether degrees, stages and placement fit together, so that the worker can be priced."""
    return not any(True for _ in structural_violations(workers, worker))


def structural_violations(workers: Workers, worker: Deployed) -> Iterator[Violation]:
    """R1-R14 and R20 of its passes, and the numbers of chunks that the service lists."""
    (cut, _, plan), broken = worker, False
    for passes, sequences in passes_of(workers, worker):
        i = passes.of(sequences).instance
        short = None if passes is workers.sizing(cut) else context_covers(i, cut.strategy.cp)
        found = strategy_violations(i, cut.strategy) if passes is workers.sizing(cut) else iter(() if short is None else (short,))
        for violation in found:
            broken = True
            yield violation
    if cut.chunks not in workers.chunk_choice:
        listed = ", ".join(map(str, workers.chunk_choice[:12]))
        yield Violation("chunks", f"{cut.chunks} chunks are not among {listed}", cut.chunks)
    i = workers.sizing(cut).instance
    if not broken:
        yield from (v for v in (stages_cover(i, plan), slots(i, plan)) if v is not None)


def worker_domain(workers: Workers, worker: Deployed) -> Iterator[Violation]:
    """(R21) A worker's GPUs are an equal part of a scale-up domain, or whole domains."""
    gpus = worker.cut.strategy.gpus
    if gpus not in workers.sizes:
        sizes = ", ".join(map(str, workers.sizes[:12])) or "none"
        sentence = (
            f"a worker of {gpus} GPUs is neither an equal part of a scale-up domain nor whole domains, or not listed; sizes are {sizes}"
        )
        yield Violation("worker_domain", sentence, gpus, workers.pool.scale_up_domain_gpus)


def in_flight(workers: Workers, worker: Deployed) -> Iterator[Violation]:
    """(R23) Sequences of a data-parallel rank, over all micro-batches, and the batch itself, are no more than there may be."""
    held, most = worker.batch * worker.cut.strategy.pp, workers.service.workers.max_sequences
    if most is not None and held > most:
        yield Violation("in_flight", f"{held} sequences per data-parallel rank, at most {most} are allowed", held, most)
    if worker.batch > MOST_BATCH:
        yield Violation("in_flight", f"a batch of {worker.batch}, at most {MOST_BATCH} are priced", worker.batch, MOST_BATCH)


def limit_violations(workers: Workers, figures: Figures) -> Iterator[Violation]:
    """(R17 ttft, R18 tpot, R24 request) What the worker's requests wait."""
    for rule, need, have in workers.waits(figures):
        if need > have:
            sentence = f"{WAITS[rule]} of this {workers.role} worker is {_ms(-(-need // 1000))} ms, the limit is {_ms(have // 1000)} ms"
            source = workers.service.why_longest_token() if workers.role == "decode" else None
            yield Violation(rule, sentence if source is None else f"{sentence}: {source}", need, have)


def _ms(us: int) -> str:
    """Microseconds as milliseconds; a wait is rounded up to them and a limit down, so that what is too long reads so."""
    return f"{us // 1000:,}.{us % 1000:03}"
