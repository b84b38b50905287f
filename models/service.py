"""A service: requests of one length, served by workers on pools of GPUs; the limits they are served within, and what is best.

A service is an instance whose workload is `serving`. What it costs is that of its passes: a worker prefills prompts, decodes tokens,
or does both in turn, and each is an ordinary pass of `models.instance` on one pool.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from models.architecture import Architecture
from models.cluster import Cluster, Pool
from models.fleet import ROLES, Role
from models.instance import Instance, Objective, assumed, computed_otherwise, sourced_of, weakest
from models.record import Name, Record, SourcedRecord, StopAtFirst, Text, digest_of
from models.space import Space
from models.strategy import Degree
from models.units import NS_PER_S, PPM, Nanoseconds, PositivePpm, ceil_div, seconds
from models.workload import Count, Decode, ExpertLoad, Prefill, Runtime

SERVING_ASSUMPTIONS = (
    "Every request has the stated lengths; rates are mean-field: every worker is busy for the stated share of its time, at its full batch.",
    "A decode step is priced with half of the output in the cache, its memory with all of it.",
    "A chunk of a prompt is priced with half of the others before it, its memory with the cache of the whole prompt.",
    "As many micro-batches are in flight as a worker has stages; transfers between stages are exposed once per step.",
    "Caches move from prefill to decode workers over scale-out ports, all stages at once in equal parts, while the next is prefilled.",
    "An aggregated worker prefills one prompt per data-parallel rank between decode steps.",
    "Workers run side by side behind a router that keeps each at its share; what waits in queues is not in these figures (see `simulate`).",
)

SECONDS_PER_HOUR = 3600
MOST_TOKENS = 10_000_000  # of a request
OF_REQUESTS = {"*": "assumed: follows from the service's requests"}

REQUEST_NEEDS_TTFT = (
    "objective.limits.request_ns needs a limit on the first token beside it where prefill and decode workers may share a request: "
    "a decode worker's token may take (request - ttft) / output tokens; add ttft_ns, as short as can be kept, or list only aggregated "
    "in workers.roles"
)

ServiceObjectiveName = Literal["throughput", "throughput_per_gpu", "cost", "gpus"]


class Serving(SourcedRecord):
    """Requests that all have `input_tokens` tokens of prompt and yield `output_tokens` tokens."""

    kind: Literal["serving"]
    input_tokens: Count
    output_tokens: Count
    requests_per_hour: Annotated[int, Field(ge=1, le=10**12)] | None = Field(
        default=None, description="load that the fleet must bear; absent: as much as it can"
    )
    prefill_utilisation_ppm: PositivePpm = Field(default=PPM, description="share of a prefill worker's rate that is counted on")
    decode_utilisation_ppm: PositivePpm = Field(default=PPM, description="share of a decode worker's rate that is counted on")
    aggregated_utilisation_ppm: PositivePpm = Field(default=PPM, description="share of an aggregated worker's rate that is counted on")

    def utilisation_ppm(self, role: Role) -> int:
        """Share of the rate of a worker of this role that is counted on."""
        found: int = getattr(self, f"{role}_utilisation_ppm")
        return found


class WorkerChoice(Record):
    """Which workers are considered, besides their degrees."""

    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=3)] = ROLES
    chunks: Annotated[tuple[Degree, ...], StopAtFirst(), Field(min_length=1, max_length=1000)] = Field(
        default=(1,), description="numbers of equal chunks that a prompt may be prefilled in"
    )
    gpus: Annotated[tuple[Degree, ...], StopAtFirst(), Field(min_length=1, max_length=4096)] | None = Field(
        default=None, description="numbers of GPUs that one worker may have; absent: every number that the rule worker_domain permits"
    )
    max_sequences: Degree | None = Field(default=None, description="most sequences in flight on one data-parallel rank of a worker")


class ServiceLimits(Record):
    """What every request is promised; a worker that misses one is not considered."""

    ttft_ns: Nanoseconds | None = Field(default=None, description="longest time to the first token")
    tpot_ns: Nanoseconds | None = Field(default=None, description="longest time per output token")
    request_ns: Nanoseconds | None = Field(default=None, description="longest time of a whole request")
    min_workers: Annotated[int, Field(ge=1, le=16)] = Field(
        default=1, description="least workers of every role in use, on as many nodes: 2 survives the loss of one"
    )


class ServiceObjective(Record):
    """What is best: most tokens/s of the cluster, most per GPU in use, least money, fewest GPUs."""

    name: ServiceObjectiveName = "throughput"
    limits: ServiceLimits = ServiceLimits()


class Pools(Record):
    """Pools of nodes. A worker runs inside one of them; caches move between workers over scale-out links."""

    pools: Annotated[tuple[Pool, ...], Field(min_length=1, max_length=4)]


class Service(Record):
    """A complete, self-contained serving problem."""

    format: Literal["shardproof-instance/1"]
    name: Name
    assumptions: tuple[Text, ...] = Field(default=(), max_length=100)
    cluster: Pools
    architecture: Architecture
    workload: Serving
    runtime: Runtime
    expert_load: ExpertLoad | None = Field(default=None, description="absent: every expert is equally popular")
    space: Space
    workers: WorkerChoice = WorkerChoice()
    objective: ServiceObjective = ServiceObjective()

    __hash__ = object.__hash__

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.space.name != "folded" or self.space.replicas is not None or self.space.microbatches is not None:
            raise ValueError("workers are chosen in the folded space; write space.name folded and leave out replicas and microbatches")
        self._check_choice()
        names = [pool.name for pool in self.cluster.pools]
        if len(set(names)) < len(names):
            raise ValueError("two pools have one name; give each its own")
        for pool in self.cluster.pools:
            if (pool.scale_up.cap_bytes_per_pass, pool.scale_out.cap_bytes_per_pass) != (None, None):
                raise ValueError(f"pool {pool.name}: cap_bytes_per_pass is of one pass, not of serving; remove it")
            if self.objective.name == "cost" and not pool.price_uusd_per_gpu_hour:
                raise ValueError(f"objective cost needs a price above 0; add price_uusd_per_gpu_hour to pool {pool.name}")
        limits = self.objective.limits
        if self.objective.name == "gpus" and self.load() is None:
            raise ValueError("objective gpus needs a load; add workload.requests_per_hour")
        if limits.request_ns is not None and limits.ttft_ns is None and self.workers.roles != ("aggregated",):
            raise ValueError(REQUEST_NEEDS_TTFT)
        for pool in self.cluster.pools:
            try:
                decode_pass(self, pool, 0)
            except ValidationError as error:
                raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
        return self

    def _check_choice(self) -> None:
        """Raises ValueError where no worker, or none that serves a request by itself or with others, can be meant."""
        choice, asked = self.workers, self.workload
        for name in ("roles", "chunks", "gpus"):
            values = getattr(choice, name)
            if values is not None and len(set(values)) < len(values):
                raise ValueError(f"workers.{name} lists a value twice; list each once")
        alone = [role for role in ("prefill", "decode") if role in choice.roles]
        if len(alone) == 1 and "aggregated" not in choice.roles:
            raise ValueError(
                f"workers.roles: {alone[0]} workers alone serve no request; add the other of prefill and decode, or aggregated"
            )
        if not chunk_numbers(self):
            raise ValueError("workers.chunks: in each of these numbers of chunks some are empty; add 1")
        if asked.input_tokens + asked.output_tokens > MOST_TOKENS:
            raise ValueError(f"workload.input_tokens and output_tokens are more than {MOST_TOKENS} together; shorten the requests")

    @property
    def gpus(self) -> int:
        """GPUs of all pools."""
        return sum(pool.gpus for pool in self.cluster.pools)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, as that of an `Instance`."""
        return digest_of(self)

    def sourced(self) -> Iterator[tuple[str, SourcedRecord]]:
        """Every record of constants with the path where the file states it."""
        for n, pool in enumerate(self.cluster.pools):
            yield from sourced_of(pool, f"cluster.pools.{n}")
        yield "workload", self.workload
        yield "runtime", self.runtime

    def stated_assumptions(self) -> list[str]:
        """As those of an `Instance`, of all pools."""
        otherwise = dict.fromkeys(said for pool in self.cluster.pools for said in computed_otherwise(self.architecture, pool))
        return [*self.assumptions, *otherwise, *assumed(self.sourced())]

    def weakest_source(self) -> str:
        """The least trustworthy kind of source among the constants."""
        return weakest(self.sourced())

    def load(self) -> int | None:
        """Requests in 10**9 s that the fleet must serve, rounded up; None where as many as it can."""
        per_hour = self.workload.requests_per_hour
        return None if per_hour is None else ceil_div(per_hour * NS_PER_S, SECONDS_PER_HOUR)

    def longest_token_ns(self) -> int | None:
        """Longest time per token of a decode worker: what the limits on a token, and on a request whose first token took all it may, leave.

        tpot <= (request - ttft) / output tokens, rounded down.
        """
        found = [ns for ns in (self.objective.limits.tpot_ns, self._token_of_request_ns()) if ns is not None]
        return min(found, default=None)

    def _token_of_request_ns(self) -> int | None:
        limits = self.objective.limits
        if limits.request_ns is None or limits.ttft_ns is None:
            return None
        return max(0, limits.request_ns - limits.ttft_ns) // self.workload.output_tokens

    def why_longest_token(self) -> str | None:
        """Where the longest time per token of a decode worker comes from, with the remedy; None where it is the limit stated."""
        limits, left = self.objective.limits, self._token_of_request_ns()
        if left is None or limits.request_ns is None or limits.ttft_ns is None or left != self.longest_token_ns() or left == limits.tpot_ns:
            return None
        parts = f"(request {seconds(limits.request_ns)} - ttft {seconds(limits.ttft_ns)})"
        return f"{parts} / {self.workload.output_tokens} output tokens; a shorter objective.limits.ttft_ns leaves more"


def chunk_tokens(service: Service, chunks: int) -> int:
    """Tokens of one of `chunks` chunks of a prompt, rounded up."""
    return ceil_div(service.workload.input_tokens, chunks)


def chunk_numbers(service: Service) -> tuple[int, ...]:
    """The numbers of chunks to choose from, ascending: those in which no chunk is empty."""
    length = service.workload.input_tokens
    return tuple(sorted(n for n in service.workers.chunks if n <= length and ceil_div(length, ceil_div(length, n)) == n))


def prefill_pass(service: Service, pool: Pool, chunks: int) -> Instance:
    """One chunk of one prompt: it sees half of the other chunks before it, and the cache of the whole prompt has its room."""
    length, new = service.workload.input_tokens, chunk_tokens(service, chunks)
    before = (chunks - 1) * new // 2
    workload = Prefill(
        kind="prefill",
        sequences=1,
        tokens_per_sequence=new,
        prefix_tokens=before,
        growth_tokens=max(0, length - before - new),
        sources=OF_REQUESTS,
    )
    return _one_pass(service, pool, workload, service.runtime)


def decode_pass(service: Service, pool: Pool, prefilled_tokens: int) -> Instance:
    """One step of one sequence half of whose output is there; its cache has room for all of it.

    `prefilled_tokens` tokens of a prompt's chunk have their activations beside it, on a worker that prefills too.
    """
    asked = service.workload
    half = asked.output_tokens // 2
    workload = Decode(
        kind="decode",
        sequences=1,
        context_tokens=asked.input_tokens + half,
        growth_tokens=asked.output_tokens - half,
        sources=OF_REQUESTS,
    )
    beside = prefilled_tokens * service.runtime.activation_bytes_per_token
    return _one_pass(service, pool, workload, service.runtime.model_copy(update={"reserve_bytes": service.runtime.reserve_bytes + beside}))


def _one_pass(service: Service, pool: Pool, workload: Prefill | Decode, runtime: Runtime) -> Instance:
    return Instance(
        format="shardproof-instance/1",
        name=service.name,
        assumptions=service.assumptions,
        cluster=Cluster(pools=(pool,)),
        architecture=service.architecture,
        workload=workload,
        runtime=runtime,
        expert_load=service.expert_load,
        space=service.space,
        objective=Objective(),
    )
