"""Measured configurations priced with the project's own cost model and catalogues."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from benchmarks.fidelity.cases import Case, Prediction, Unpriced, Workers
from benchmarks.fidelity.parts import ACCELERATORS, MODELS, parts_of
from benchmarks.fidelity.scenes import Lengths, instance_of, lengths_of, misfit, plan_of, strategy_of, workers_of
from models.evaluate import Evaluation, evaluate
from models.instance import Instance
from models.serving import batch_ns, first_token_ns, sequences_that_fit, token_ns, tokens_per_1000_s
from models.strategy import Plan
from models.units import NS_PER_S, PPM, ceil_div
from models.workload import Decode, Prefill

MS = 1_000_000
LEAST_RESERVE = 2 << 30  # bytes of a GPU that no setting gives to the engine
HALF = PPM // 2  # of requests whose lengths are drawn at random, assumed to arrive together
# Of one rank by default: --max-num-seqs, the sizes of captured graphs, max_batch_size.
MOST_SEQUENCES = {"vllm": 256, "sglang": 256, "trtllm": 2048}
__all__ = ["ACCELERATORS", "MODELS", "price"]


class Pass(NamedTuple):
    """One pass of an engine instance, priced."""

    ns: int
    """the step; of a full pipeline with several micro-batches, the time until each has advanced by one pass"""
    evaluation: Evaluation


def price(case: Case) -> Prediction | Unpriced:
    """What the cost model predicts for a case, or why it does not."""
    if case.mtp:
        return Unpriced("speculative decoding is not modelled")
    ways: dict[str, Callable[[Case], Prediction | Unpriced]] = {
        "aggregated": aggregated,
        "static_batch": static_batch,
        "offline_max": aggregated,
        "offline": aggregated,
        "disaggregated": disaggregated,
        "disagg_prefill": prefill_only,
        "disagg_decode": decode_only,
    }
    if case.mode not in ways:
        return Unpriced(f"serving mode {case.mode!r} is not modelled")
    return ways[case.mode](case)


@cache
def engine_plan(case: Case, workers: Workers) -> tuple[Instance, Plan] | Unpriced:
    """A decode instance of one sequence per rank on this case's machine, and the engine's plan for it."""
    parts = parts_of(case, workers)
    if isinstance(parts, Unpriced):
        return parts
    instance = instance_of(parts, {"kind": "decode", "sequences": workers.dp, "context_tokens": 1})
    strategy = strategy_of(workers, instance.architecture.experts, case.cp, 1)
    problem = misfit(instance, strategy)
    return Unpriced(problem) if problem else (instance, plan_of(instance, strategy))


def run(found: tuple[Instance, Plan], sequences: int, context: int, prompt: int | None = None, steady: bool = False) -> Pass:
    """One pass with `sequences` per data-parallel rank: a decode step, or the prefill of `prompt` tokens each.

    A pipeline in steady state holds one micro-batch per stage, so that every stage works all the time.
    """
    instance, plan = found
    s = plan.strategy
    parts = min(s.pp, sequences) if steady else 1
    each = ceil_div(sequences, parts)
    total, sources = each * parts * s.dp, instance.workload.sources
    workload: Decode | Prefill = Decode(kind="decode", sequences=total, context_tokens=context, sources=sources)
    if prompt is not None:
        workload = Prefill(kind="prefill", sequences=total, tokens_per_sequence=prompt, sources=sources)
    pass_instance = instance.model_copy(update={"workload": workload})
    evaluation = evaluate(pass_instance, plan._replace(strategy=s._replace(microbatches=parts)))
    slowest = max(stage.ns for stage in evaluation.stages)
    return Pass(max(parts, s.pp) * slowest if steady and s.pp > 1 else evaluation.step_ns, evaluation)


def in_flight(case: Case, found: tuple[Instance, Plan], lengths: Lengths, count: int) -> int:
    """Sequences of one data-parallel rank that decode together: those offered, as far as their caches fit."""
    instance, plan = found
    wanted = case.concurrency if case.concurrency is not None else case.requests
    limit = case.max_batch_per_rank or MOST_SEQUENCES.get(case.engine, 256)
    offered = limit if wanted is None else ceil_div(wanted, count * plan.strategy.dp)
    offered = min(offered, limit) if case.concurrency is None else offered
    workload = instance.workload.model_copy(update={"context_tokens": lengths.context})
    asked = instance.model_copy(update={"workload": workload})
    fit = sequences_that_fit(asked, plan, offered)
    if fit == 0:  # whoever runs it gives the engine more of the memory than it takes by default
        runtime = asked.runtime.model_copy(update={"reserve_bytes": LEAST_RESERVE})
        fit = sequences_that_fit(asked.model_copy(update={"runtime": runtime}), plan, offered)
    return max(1, fit)


def aggregated(case: Case) -> Prediction | Unpriced:
    """A server that prefills between decode steps; offered without limit, as many requests as fit."""
    workers, lengths = workers_of(case), lengths_of(case)
    found = engine_plan(case, workers)
    if isinstance(found, Unpriced):
        return found
    if lengths is None:
        return Unpriced("lengths are not stated")
    return served(case, found, lengths, workers.count)


def served(case: Case, found: tuple[Instance, Plan], lengths: Lengths, count: int) -> Prediction:
    """TPOT, TTFT of an unloaded server, and throughputs, of `count` engine instances."""
    instance, plan = found
    sequences = in_flight(case, found, lengths, count)
    decode, prefill = run(found, sequences, lengths.context, steady=True), run(found, 1, lengths.prompt, lengths.prompt)
    share = instance.runtime.interference_ppm
    tpot = token_ns(decode.ns, prefill.ns, sequences, lengths.output, share)
    rate = tokens_per_1000_s(decode.ns, prefill.ns, sequences, lengths.output, share) * plan.strategy.dp * count / 1000
    ttft = first_token_ns(decode.ns, prefill.ns, sequences, HALF if case.random_range else PPM)
    return Prediction(
        tpot_ms=tpot / MS,
        ttft_ms=ttft / MS,
        output_throughput=rate,
        total_throughput=rate * (lengths.prompt + lengths.output) / lengths.output,
        input_throughput=rate * lengths.prompt / lengths.output,
        moe=instance.architecture.experts > 0,
        terms=named(decode, {"prefill of others": (tpot - decode.ns) / MS}),
        prefill_terms=named(prefill, {}),
    )


def static_batch(case: Case) -> Prediction | Unpriced:
    """A batch that starts and ends together, in several waves where not all caches fit."""
    workers, lengths = workers_of(case), lengths_of(case)
    found = engine_plan(case, workers)
    if isinstance(found, Unpriced):
        return found
    if lengths is None or case.concurrency is None:
        return Unpriced("lengths or batch are not stated")
    offered = ceil_div(case.concurrency, workers.count * workers.dp)
    sequences = in_flight(case, found, lengths, workers.count)
    waves = ceil_div(offered, sequences)
    sequences = ceil_div(offered, waves)
    decode, prefill = run(found, sequences, lengths.context), run(found, sequences, lengths.prompt, lengths.prompt)
    latency = waves * batch_ns(decode.ns, prefill.ns, lengths.output)
    total = case.concurrency * (lengths.prompt + lengths.output)
    return Prediction(
        tpot_ms=decode.ns / MS,
        token_time_ms=decode.ns / MS,
        prefill_time_ms=prefill.ns / MS,
        ttft_ms=prefill.ns / MS,
        batch_latency_s=latency / NS_PER_S,
        total_throughput=total * NS_PER_S / latency,
        output_throughput=case.concurrency * lengths.output * NS_PER_S / latency,
        moe=found[0].architecture.experts > 0,
        terms=named(decode, {"prefill of the batch": prefill.ns / MS / lengths.output}),
        prefill_terms=named(prefill, {}),
    )


def disaggregated(case: Case) -> Prediction | Unpriced:
    """Prefill and decode workers apart: the slower side sets the rate."""
    lengths = lengths_of(case)
    if case.decode is None or case.prefill is None or lengths is None or case.concurrency is None:
        return Unpriced("workers, lengths or load are not stated")
    found, front = engine_plan(case, case.decode), engine_plan(case, case.prefill)
    if isinstance(found, Unpriced):
        return found
    if isinstance(front, Unpriced):
        return front
    sequences = in_flight(case, found, lengths, case.decode.count)
    decode, prefill = run(found, sequences, lengths.context, steady=True), run(front, 1, lengths.prompt, lengths.prompt)
    ranks = case.decode.count * case.decode.dp
    decoded = ranks * sequences * NS_PER_S / (decode.ns * lengths.output)
    prefilled = case.prefill.count * case.prefill.dp * NS_PER_S / prefill.ns
    rate = min(decoded, prefilled)
    return Prediction(
        tpot_ms=decode.ns / MS,
        ttft_ms=(prefill.ns + decode.ns) / MS,
        output_throughput=rate * lengths.output,
        total_throughput=rate * (lengths.prompt + lengths.output),
        input_throughput=rate * lengths.prompt,
        moe=found[0].architecture.experts > 0,
        terms=named(decode, {}),
        prefill_terms=named(prefill, {}),
    )


def prefill_only(case: Case) -> Prediction | Unpriced:
    """Prompts of a stated number of tokens per GPU and step."""
    workers, lengths = workers_of(case), lengths_of(case)
    found = engine_plan(case, workers)
    if isinstance(found, Unpriced):
        return found
    if lengths is None or not case.tokens_per_gpu:
        return Unpriced("lengths or tokens per step are not stated")
    sequences = max(1, case.tokens_per_gpu * workers.tp // lengths.prompt)
    prefill = run(found, sequences, lengths.prompt, lengths.prompt)
    rate = sequences * workers.dp * workers.count * lengths.prompt * NS_PER_S / prefill.ns / (1 - case.cached_share)
    return Prediction(input_throughput=rate, moe=found[0].architecture.experts > 0, terms=named(prefill, {}))


def decode_only(case: Case) -> Prediction | Unpriced:
    """Decode steps at a stated batch and cache length."""
    workers = workers_of(case)
    found = engine_plan(case, workers)
    if isinstance(found, Unpriced):
        return found
    if case.kv_length is None or case.concurrency is None:
        return Unpriced("batch or cache length are not stated")
    sequences = max(1, case.concurrency // (workers.count * workers.dp))
    decode = run(found, sequences, round(case.kv_length), steady=True)
    rate = sequences * workers.dp * workers.count * NS_PER_S / decode.ns
    return Prediction(tpot_ms=decode.ns / MS, output_throughput=rate, moe=found[0].architecture.experts > 0, terms=named(decode, {}))


def named(priced: Pass, more: dict[str, float]) -> dict[str, float]:
    """Milliseconds of the pass by term."""
    return {name: ns / MS for name, ns in priced.evaluation.breakdown.items() if ns} | more
