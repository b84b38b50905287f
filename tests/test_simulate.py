"""Replays agree with the means where means hold, and with single steps and closed forms everywhere; traces are read strictly."""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache
from math import log
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from models.errors import InputError
from models.fleet_plan import FleetFile, figures_of
from models.service import Service
from models.units import ceil_div
from optimizer.reading import validate
from optimizer.serving.agenda import Agenda, Request
from optimizer.serving.arrivals import Arrival, Lengths, draw_poisson, mean_lengths
from optimizer.serving.asking import Asked, parse_asked
from optimizer.serving.decoding import StepCell
from optimizer.serving.deployment import Unit, complete
from optimizer.serving.means import mean_field
from optimizer.serving.prefilling import heaviest_rank
from optimizer.serving.prices import Prices, bucket_tokens, resized
from optimizer.serving.queueing import erlang_c, queue_wait, waiting
from optimizer.serving.replay_text import simulate_text
from optimizer.serving.replaying import run_simulate
from optimizer.serving.simulate import Fleet, replay
from optimizer.serving.traces import read_trace
from optimizer.serving.waits import percentile, rates, summary
from optimizer.simulate import simulate

ROOT = Path(__file__).resolve().parent.parent
PREFILL = {"role": "prefill", "count": 3, "degrees": {"tp": 1}, "batch": 1}
DECODE = {"role": "decode", "count": 5, "degrees": {"tp": 1}, "batch": 24}
AGGREGATED = {"role": "aggregated", "count": 3, "degrees": {"tp": 1}, "batch": 24}
FLEETS = {
    "bound by prefill": [PREFILL | {"count": 1}, DECODE],
    "bound by decode": [PREFILL, DECODE | {"count": 2}],
    "batches of prompts": [PREFILL | {"count": 1, "batch": 4}, DECODE],
    "stages": [PREFILL | {"count": 1, "degrees": {"tp": 1, "pp": 2}, "chunks": 2}, DECODE | {"degrees": {"tp": 2, "pp": 2}, "count": 1}],
    "aggregated": [AGGREGATED],
    "aggregated in chunks": [AGGREGATED | {"chunks": 4}],
    "aggregated in stages": [AGGREGATED | {"degrees": {"tp": 1, "pp": 2}, "count": 1, "chunks": 2}],
    "side by side": [PREFILL | {"count": 1}, DECODE | {"count": 2}, AGGREGATED | {"count": 2}],
}
NAMES = tuple(FLEETS)
SERVED = Lengths(2048, 128)


@cache
def service(input_tokens: int = 2048, output_tokens: int = 128, link: str | None = None, **limits: str) -> Service:
    slow = {} if link is None else {"scale_out": {"bandwidth_bytes_per_s": link}}
    record = {
        "format": "shardproof-instance/1",
        "name": "small",
        "cluster": {"machine": "H100", "nodes": 1} | slow,
        "architecture": "Llama-3.1-8B",
        "runtime": {"engine": "vllm"},
        "workload": {"kind": "serving", "input_tokens": input_tokens, "output_tokens": output_tokens, "sources": {"*": "assumed: example"}},
        "space": {"name": "folded", "cp": [1]},
        "workers": {"chunks": [1, 2, 4]},
        "objective": {"name": "throughput", "limits": limits},
    }
    return validate(record, Service, "small")


def plan_of(workers: Sequence[object]) -> FleetFile:
    return validate({"workers": workers}, FleetFile, "plan")


@cache
def units_of(name: str) -> tuple[Unit, ...]:
    return complete(service(), plan_of(FLEETS[name]), "plan")


def fleet_of(units: Sequence[Unit], lengths: Lengths = SERVED) -> Fleet:
    return Fleet([(Prices(unit, lengths), unit.copies) for unit in units], mean_field([resized(unit, lengths) for unit in units]))


def replayed(name: str, share: float, requests: int, seed: int = 0) -> list[Request]:
    """Poisson arrivals at a share of the fleet's mean-field rate."""
    fleet = fleet_of(units_of(name))
    return replay(fleet, draw_poisson(service(), fleet.means.rate / 1e9 * share, requests, seed))


# Closed forms


def test_erlang_c_is_that_of_one_and_two_servers() -> None:
    for offered in (0.0, 0.3, 0.9):
        assert erlang_c(1, offered) == pytest.approx(offered)
        assert erlang_c(2, 2 * offered) == pytest.approx(2 * offered**2 / (1 + offered))
    assert erlang_c(20_000, 10) == pytest.approx(0)
    assert erlang_c(20_000, 20_000) == pytest.approx(1)


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.8, 0.99])
def test_one_server_waits_as_in_the_closed_forms_and_half_as_long_when_service_is_constant(rho: float) -> None:
    random, constant = queue_wait(1, 2e6, rho * 500, 1.0, 1.0), queue_wait(1, 2e6, rho * 500, 1.0, 0.0)
    assert random is not None
    assert constant is not None
    assert random.mean_ns == pytest.approx(2e6 * rho / (1 - rho))
    assert constant.mean_ns == pytest.approx(random.mean_ns / 2)
    assert random.beyond(1e6) == pytest.approx(rho * 2.718281828 ** (-1e6 * (1 - rho) / 2e6))
    assert random.quantile_ns(0.95) == pytest.approx(max(0.0, 2e6 / (1 - rho) * log(rho / 0.05)))


def test_a_queue_that_grows_without_end_has_no_wait() -> None:
    assert queue_wait(2, 1e9, 2.0, 1.0, 0.0) is None
    units = units_of("aggregated")
    assert waiting(units, mean_field(units).rate / 1e9) is None
    assert waiting(units, mean_field(units).rate / 1.01e9) is not None


def test_one_prompt_at_a_time_waits_as_the_queueing_formula_says() -> None:
    units = complete(service(), plan_of([PREFILL, DECODE | {"count": 5, "batch": 60}]), "plan")
    fleet = fleet_of(units)
    for share in (0.5, 0.8):
        rate = fleet.means.prefill / 1e9 * share
        assert rate * 1e9 < fleet.means.decode
        found = waiting(units, rate)
        assert found is not None
        waits = [r.ttft_ns - fleet.means.ttft_ns for r in replay(fleet, draw_poisson(service(), rate, 20_000, 1))]
        assert sum(waits) / len(waits) == pytest.approx(found.mean_ns, rel=0.15)
        assert found.ttft_mean_ns == pytest.approx(fleet.means.ttft_ns + found.mean_ns)
        assert percentile(sorted(waits), 95) == pytest.approx(found.p95_ns, rel=0.25)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_passes_of_several_prompts_wait_about_as_the_formula_says(share: float) -> None:
    units = complete(
        service(), plan_of([PREFILL | {"count": 1, "degrees": {"tp": 1, "dp": 4}}, DECODE | {"count": 4, "batch": 60}]), "plan"
    )
    fleet = fleet_of(units)
    rate = fleet.means.prefill / 1e9 * share
    found, seen = waiting(units, rate), replay(fleet, draw_poisson(service(), rate, 5_000, 1))
    assert found is not None
    assert sum(r.ttft_ns for r in seen) / len(seen) == pytest.approx(found.ttft_mean_ns, rel=0.2)
    assert percentile(sorted(r.ttft_ns for r in seen), 95) == pytest.approx(found.ttft_p95_ns, rel=0.35)


# Against the means


@pytest.mark.parametrize("name", NAMES)
def test_far_above_its_capacity_a_fleet_yields_the_mean_field_rate(name: str) -> None:
    yields, tokens = rates(replayed(name, 50, 3000))
    assert yields == pytest.approx(mean_field(units_of(name)).rate / 1e9, rel=0.03)
    assert tokens == pytest.approx(128 * yields)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_a_request_alone_sees_the_figures_of_batch_1(name: str) -> None:
    figures = [figures_of(unit.workers, unit.worker._replace(batch=1)) for unit in units_of(name)]
    tpot = max(prices.step_ns(1) for prices, _ in fleet_of(units_of(name)).workers if prices.unit.workers.role != "prefill")
    seen = summary(replayed(name, 0.001, 50), service().objective.limits)
    assert seen.ttft.p50 == max(f.ttft_ns for f in figures)
    assert seen.tpot.p50 == tpot


@pytest.mark.parametrize("name", NAMES)
def test_below_its_capacity_a_fleet_serves_what_comes(name: str) -> None:
    rate = mean_field(units_of(name)).rate / 1e9 * 0.6
    assert rates(replayed(name, 0.6, 2000))[0] == pytest.approx(rate, rel=0.05)


def test_the_router_counts_caches_that_wait_for_a_slot() -> None:
    units = complete(service(), plan_of([PREFILL, DECODE | {"count": 1}, AGGREGATED | {"count": 2}]), "plan")
    fleet = fleet_of(units)
    yields, _ = rates(replay(fleet, draw_poisson(service(), fleet.means.rate / 1e9 * 1.3, 4000, 0)))
    assert yields == pytest.approx(fleet.means.rate / 1e9, rel=0.03)


def test_requests_that_come_at_once_are_spread_over_the_workers() -> None:
    agenda, prices = Agenda(), fleet_of(units_of("bound by prefill")).of("decode")
    cell = StepCell(agenda, prices)
    requests = [Request(n, 0, 2048, 100) for n in range(2 * len(prices))]
    for request in requests:
        cell.give(0, request)
    agenda.run()
    longest = 2 * prices[0].receiving_ns + 101 * prices[0].step_ns(2)
    assert all(0 < r.done_ns <= longest for r in requests)


def test_slow_links_between_workers_bound_a_fleet_as_in_its_means() -> None:
    slow = service(link="2 GB/s")
    units = complete(slow, plan_of([PREFILL | {"count": 2}, DECODE]), "plan")
    fast = mean_field(complete(service(), plan_of([PREFILL | {"count": 2}, DECODE]), "plan"))
    fleet = fleet_of(units)
    assert fleet.means.prefill < 0.8 * fast.prefill
    yields, _ = rates(replay(fleet, draw_poisson(slow, fleet.means.rate / 1e9 * 50, 3000, 0)))
    assert yields == pytest.approx(fleet.means.rate / 1e9, rel=0.03)


def test_both_sides_of_a_fleet_serve_in_proportion_to_their_rates_when_few_requests_come() -> None:
    units = units_of("side by side")
    means = mean_field(units)
    alone = figures_of(units[2].workers, units[2].worker._replace(batch=1)).ttft_ns
    share = sum(r.ttft_ns == alone for r in replayed("side by side", 0.001, 400)) / 400
    assert share == pytest.approx(means.aggregated / means.rate, abs=0.02)


# Against a step at a time


def naive_decode(prices: Prices, prefilled: Sequence[int], output_tokens: int) -> list[int]:
    """Ends of requests whose caches leave at these times, one decode worker, step by step."""
    ends, slots, port = [0] * len(prefilled), prices.slots, 0
    waiting_for_slot = deque(enumerate(prefilled))
    joining: list[tuple[int, int]] = []
    running: dict[int, int] = {}
    now = 0

    def give(limit: int, at: int) -> None:
        nonlocal slots, port
        while waiting_for_slot and slots and waiting_for_slot[0][1] <= limit:
            n, ready = waiting_for_slot.popleft()
            ready = max(ready, at, port)
            port, slots = ready + prices.receiving_ns, slots - 1
            joining.append((ready, n))

    while waiting_for_slot or joining or running:
        for n in [n for n, left in running.items() if left == 0]:
            ends[n], slots = now, slots + 1
            del running[n]
        give(now, now)
        for ready, n in [j for j in joining if j[0] <= now]:
            running[n] = output_tokens
            joining.remove((ready, n))
        if not running:
            now = min([ready for ready, _ in joining] + [ready for _, ready in list(waiting_for_slot)[:1]], default=now)
            continue
        step = prices.step_ns(len(running))
        give(now + step - 1, 0)
        running = {n: left - 1 for n, left in running.items()}
        now += step
    return ends


@pytest.mark.parametrize("batch", [1, 3, 20])
@pytest.mark.parametrize("share", [0.3, 0.95, 3.0])
def test_decode_steps_taken_together_end_when_single_ones_do(batch: int, share: float) -> None:
    units = complete(service(), plan_of([PREFILL, DECODE | {"count": 1, "batch": batch}]), "plan")
    fleet = fleet_of(units)
    requests = replay(fleet, draw_poisson(service(), fleet.means.decode / 1e9 * share, 150, 5))
    decode = fleet.of("decode")[0]
    order = sorted(requests, key=lambda r: (r.first_ns, r.number))
    assert [r.done_ns for r in order] == naive_decode(decode, [r.first_ns for r in order], 128)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("degrees", [{"tp": 1}, {"tp": 1, "dp": 2}, {"tp": 2, "pp": 2}], ids=str)
def test_a_prefill_worker_takes_what_waits_and_its_batch_holds_when_it_is_free(batch: int, degrees: dict[str, int]) -> None:
    units = complete(service(), plan_of([PREFILL | {"count": 1, "batch": batch, "degrees": degrees}, DECODE | {"count": 1}]), "plan")
    fleet = fleet_of(units)
    prices = fleet.of("prefill")[0]
    drawn = draw_poisson(service(), fleet.means.prefill / 1e9 * 1.2, 200, 2)
    arrivals = [a._replace(input_tokens=256 * (1 + n % 13), output_tokens=2) for n, a in enumerate(drawn)]
    queue, free, expected = deque(arrivals), 0, []
    while queue:
        begin, most = max(free, queue[0].at_ns), batch * prices.ranks
        taken = [queue.popleft()]
        while queue and queue[0].at_ns <= begin and len(taken) < most and sum(a.input_tokens for a in [*taken, queue[0]]) <= most * 2048:
            taken.append(queue.popleft())
        found = prices.prefill(*heaviest_rank([a.input_tokens for a in taken], prices.ranks))
        expected += [begin + prices.first_token_ns(found)] * len(taken)
        free = begin + prices.period_ns(found)
    assert [r.first_ns for r in replay(fleet, arrivals)] == expected


def naive_aggregated(prices: Prices, arrivals: Sequence[Arrival], eager: bool) -> list[tuple[int, int]]:
    """First tokens and ends of requests at one aggregated worker of one stage, step by step."""
    queue, prompts = deque(enumerate(arrivals)), deque[int]()
    first, ends = [0] * len(arrivals), [0] * len(arrivals)
    running: dict[int, int] = {}
    joining: list[tuple[int, int]] = []
    now, held, made = 0, 0, 0
    gathers, since = prices.ranks > 1 and not eager, None
    room = prices.slots + prices.ranks * gathers

    def take(limit: int) -> None:
        nonlocal held
        while queue and held < room and queue[0][1].at_ns <= limit:
            prompts.append(queue.popleft()[0])
            held += 1

    def step(extra_ns: int, sequences: int) -> int:
        """One step, and what the prompts' chunk before it takes; returns the time of the step alone."""
        nonlocal now, running, made
        made += 1
        ns = prices.step_ns(sequences)
        take(now + extra_ns + ns - 1)
        running = {n: left - 1 for n, left in running.items()}
        now += extra_ns + ns
        return ns

    def change() -> None:
        """What happens between two steps."""
        nonlocal held
        for n in [n for n, left in running.items() if left == 0]:
            ends[n], held = now, held - 1
            del running[n]
        take(now)
        for ready, n in [j for j in joining if j[0] <= now]:
            running[n] = arrivals[n].output_tokens
            joining.remove((ready, n))

    while queue or prompts or joining or running:
        change()
        ready = min(prices.ranks, len(prompts), prices.slots - len(running) - len(joining))
        if ready and since is None:
            since = made
        if ready and (not (gathers and running) or ready == prices.ranks or made - (since or 0) >= prices.steps_between_rounds):
            since = None
            taken = [prompts.popleft() for _ in range(ready)]
            found = prices.prefill(1, max(arrivals[n].input_tokens for n in taken))
            began, steps = now, 0
            for _ in range(found.chunks):
                change()
                steps += step(prices.delay_ns(found), len(running) + len(joining) + len(taken))
            for n in taken:
                first[n] = began + found.through_ns + steps
                joining.append((max(now, first[n]), n))
        elif running:
            step(0, len(running) + len(joining))
        else:
            now = min([ready for ready, _ in joining] + [a.at_ns for _, a in list(queue)[:1]], default=now)
    return list(zip(first, ends, strict=True))


@pytest.mark.parametrize("chunks", [1, 4])
@pytest.mark.parametrize("degrees", [{"tp": 1}, {"tp": 1, "pp": 2}, {"tp": 1, "dp": 2}, {"tp": 1, "dp": 4, "pp": 2}], ids=str)
@pytest.mark.parametrize("share", [0.3, 0.95, 3.0])
@pytest.mark.parametrize("eager", [False, True])
def test_an_aggregated_worker_prefills_and_decodes_as_it_does_step_by_step(
    chunks: int, degrees: dict[str, int], share: float, eager: bool
) -> None:
    units = complete(service(), plan_of([AGGREGATED | {"count": 1, "batch": 3, "chunks": chunks, "degrees": degrees}]), "plan")
    fleet = fleet_of(units)
    drawn = draw_poisson(service(), fleet.means.rate / 1e9 * share, 150, 3)
    uneven = [a._replace(input_tokens=512 * (1 + n % 7), output_tokens=20 + n % 90) for n, a in enumerate(drawn)]
    found = replay(fleet._replace(eager=eager), uneven)
    assert [(r.first_ns, r.done_ns) for r in found] == naive_aggregated(fleet.of("aggregated")[0], uneven, eager)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.5, 1.5])
def test_requests_go_through_a_fleet_in_order_and_never_hold_more_slots_than_there_are(name: str, share: float) -> None:
    requests = replayed(name, share, 600, 4)
    assert all(r.arrived_ns < r.first_ns <= r.joined_ns < r.done_ns for r in requests)
    slots = sum(p.slots * n for p, n in fleet_of(units_of(name)).workers if p.unit.workers.role != "prefill")
    changes = sorted([(r.joined_ns, 1) for r in requests] + [(r.done_ns, -1) for r in requests])
    held = most = 0
    for _, change in changes:
        held += change
        most = max(most, held)
    assert held == 0
    assert most <= slots


# Lengths


def test_prompts_are_priced_in_eighths_and_longer_ones_cost_more() -> None:
    assert [bucket_tokens(service(), n) for n in (1, 256, 257, 2048, 2049)] == [256, 256, 512, 2048, 2304]
    odd = service(1001)
    assert bucket_tokens(odd, 1001) == 1001
    assert all(bucket_tokens(odd, n) >= n for n in range(1, 3000, 7))
    prices = fleet_of(units_of("aggregated in chunks")).of("aggregated")[0]
    passes = [prices.prefill(1, n) for n in (256, 512, 2048, 2304, 8192)]
    assert [p.chunks for p in passes] == [1, 1, 4, 5, 16]
    assert sorted(p.through_ns for p in passes) == [p.through_ns for p in passes]


def test_the_busiest_rank_has_the_most_tokens() -> None:
    assert heaviest_rank([7], 4) == (1, 7)
    assert heaviest_rank([5] * 9, 4) == (3, 5)
    assert heaviest_rank([10, 1, 1, 1], 2) == (2, 5)
    assert heaviest_rank([10, 6, 5, 1], 2) == (2, ceil_div(11, 2))


def test_percentiles_are_the_nearest_rank() -> None:
    found = list(range(1, 201))
    assert [percentile(found, p) for p in (50, 95, 99)] == [100, 190, 198]
    assert percentile([7], 99) == 7
    assert percentile([1, 2], 50) == 1


# The command


def asked(**changes: object) -> Asked:
    return Asked(None, None, 800_000, 500, 0)._replace(**changes)


def without_time(result: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in result.items() if name != "seconds"}


def test_the_same_question_has_the_same_answer_and_another_seed_another() -> None:
    plan = plan_of(FLEETS["side by side"])
    first, second = (json.dumps(without_time(run_simulate(service(), plan, "plan", asked()))) for _ in range(2))
    assert first == second
    assert first != json.dumps(without_time(run_simulate(service(), plan, "plan", asked(seed=1))))


def test_a_trace_of_what_was_drawn_gives_what_was_drawn(tmp_path: Path) -> None:
    plan = plan_of(FLEETS["side by side"])
    drawn = run_simulate(service(), plan, "plan", asked())
    arrivals = draw_poisson(service(), drawn["mean_field"]["requests_per_s"] * 0.8, 500, 0)
    lines = [f"{a.at_ns // 10**9}.{a.at_ns % 10**9:09d},{a.input_tokens},{a.output_tokens}" for a in arrivals]
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(["arrival_s,input_tokens,output_tokens", *lines[::-1]]))
    recorded = run_simulate(service(), plan, "plan", asked(trace=path))
    for part in ("ttft_ms", "tpot_ms", "request_ms", "tokens_per_s", "mean_field", "within_limits"):
        assert recorded[part] == drawn[part], part
    assert recorded["arrivals"]["kind"] == "trace"
    rows = [dict(zip(("arrival_s", "input_tokens", "output_tokens"), line.split(","), strict=True)) for line in lines]
    objects = ['{"id": "x", ' + ", ".join(f'"{k}": {v}' for k, v in row.items()) + "}" for row in rows]
    (tmp_path / "trace.jsonl").write_text("\n".join(objects) + "\n")
    assert read_trace(tmp_path / "trace.jsonl", 2048) == read_trace(path, 2048)


def test_uneven_lengths_are_priced_at_their_mean_and_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    rows = [f"{n / 4},{1024 if n % 2 else 3072},{64 if n % 3 else 256}" for n in range(300)]
    path.write_text("arrival_s,input_tokens,output_tokens\n" + "\n".join(rows))
    even = run_simulate(service(), plan_of(FLEETS["side by side"]), "plan", asked(requests_per_s=4.0))
    uneven = run_simulate(service(), plan_of(FLEETS["side by side"]), "plan", asked(trace=path))
    assert mean_lengths(read_trace(path, 2048)) == Lengths(2048, 128)
    assert uneven["mean_field"] == even["mean_field"]
    assert uneven["ttft_ms"]["p95"] > even["ttft_ms"]["p50"]
    path.write_text("arrival_s,input_tokens,output_tokens\n" + "\n".join(f"{n},4096,128" for n in range(50)))
    longer = run_simulate(service(), plan_of(FLEETS["side by side"]), "plan", asked(trace=path))
    assert longer["mean_field"]["requests_per_s"] < even["mean_field"]["requests_per_s"]
    assert any("the service's 2048 and 128" in said for said in longer["assumptions"])


def test_shares_within_limits_are_counted_and_absent_limits_are_null() -> None:
    limited = service(ttft_ns="80 ms", tpot_ns="1 us")
    result = run_simulate(limited, plan_of([PREFILL | {"count": 1}, DECODE]), "plan", asked())
    assert result["within_limits"]["tpot"] == 0.0
    assert 0 < result["within_limits"]["ttft"] < 1
    assert result["within_limits"]["request"] is None
    assert "TTFT" in simulate_text(result)


def test_text_says_where_means_lie_and_when_the_queue_grows() -> None:
    plan = plan_of([PREFILL, DECODE])
    calm = simulate_text(run_simulate(service(), plan, "plan", asked(utilisation_ppm=10_000)))
    assert "means hold" in calm
    over = simulate_text(run_simulate(service(), plan, "plan", asked(requests_per_s=1e4)))
    assert "means lie: TTFT p99 is" in over
    assert "queues grow to the end" in over
    assert "no steady state" in over


def test_requests_that_come_all_at_once_are_served(tmp_path: Path) -> None:
    path = tmp_path / "burst.csv"
    path.write_text("arrival_s,input_tokens,output_tokens\n" + "1e9,2048,128\n" * 300)
    result = run_simulate(service(), plan_of(FLEETS["side by side"]), "plan", asked(trace=path))
    assert result["utilisation"] is None
    assert "all at once" in simulate_text(result)
    path.write_text("arrival_s,input_tokens,output_tokens\n5,1,1\n")
    assert run_simulate(service(), plan_of(FLEETS["side by side"]), "plan", asked(trace=path))["arrivals"]["counted"] == 1


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        ([PREFILL], "serve no request; add"),
        ([DECODE | {"count": 9}, PREFILL], "take 12 GPUs"),
        ([AGGREGATED | {"batch": 4_000}], "cannot run (memory)"),
        ([AGGREGATED | {"chunks": 3}], "cannot run (chunks)"),
    ],
)
def test_a_fleet_that_cannot_run_is_refused(workers: list[object], said: str) -> None:
    with pytest.raises(InputError) as refusal:
        run_simulate(service(), plan_of(workers), "plan.json", asked())
    assert said in str(refusal.value)
    assert str(refusal.value).startswith("plan.json: workers")


HEADER = "arrival_s,input_tokens,output_tokens\n"


def hostile() -> Iterator[tuple[bytes, str]]:
    for number in ("NaN", "nan", "inf", "-1", "1e11", "1_0", "", "0x10", "9" * 4000, "1e999999999", "１"):
        yield f"{HEADER}0,1,1\n{number},1,1\n".encode(), "line 3: arrival_s"
    for number in ("0", "-5", "1.5", "NaN", "", "1e3", "10000001", "9" * 400, "²"):
        yield f"{HEADER}0,{number},1\n".encode(), "line 2: input_tokens"
        yield f"{HEADER}0,1,{number}\n".encode(), "line 2: output_tokens"
    yield f"{HEADER}0,65537,1\n".encode(), "more than 32 times the service's 2048"
    yield f"{HEADER}0,1\n".encode(), "line 2: has 2 values for 3 columns"
    yield f"{HEADER}0,1,1,1\n".encode(), "line 2: has 4 values for 3 columns"
    yield b"arrival_s,input_tokens\n0,1\n", "line 1: no column output_tokens"
    yield b"arrival_s,input_tokens,input_tokens,output_tokens\n0,1,1,1\n", "input_tokens is there 2 times"
    yield b"0,1,1\n0,1,1\n", "no column arrival_s"
    yield b"", "holds no requests"
    yield b"\n\n", "holds no requests"
    yield HEADER.encode(), "holds no requests"
    yield b"\xff\xfe\x00", "not UTF-8"
    yield f'{HEADER}0,"1,1\n'.encode(), "not CSV"
    yield f"{HEADER}0,{'1' * 200_000},1\n".encode(), "not CSV"
    yield b'{"arrival_s": 0, "input_tokens": 1}\n', "line 1: no column output_tokens"
    yield b'{"arrival_s": 0, "input_tokens": 1, "output_tokens": 1, "arrival_s": 2}\n', "arrival_s is there 2 times"
    yield b'{"arrival_s": NaN, "input_tokens": 1, "output_tokens": 1}\n', "'NaN' is not a time"
    yield b'{"arrival_s": -Infinity, "input_tokens": 1, "output_tokens": 1}\n', "is not a time"
    yield b'{"arrival_s": "0", "input_tokens": 1, "output_tokens": 1}\n', 'arrival_s: "0" is not a number'
    yield b'{"arrival_s": true, "input_tokens": 1, "output_tokens": 1}\n', "arrival_s: true is not a number"
    yield b'{"arrival_s": [[]], "input_tokens": 1, "output_tokens": 1}\n', "a list or an object is not a number"
    yield b'{"arrival_s": 0, "input_tokens": 1, "output_tokens": 1}\n[1]\n', "line 2: is not an object"
    yield b'{"arrival_s": 0, "input_tokens": 1, "output_tokens": 1}\n{"arrival_s"\n', "line 2: not JSON"
    yield b'{"a":' + b"[" * 200_000, "line 1: "


@pytest.mark.parametrize(("text", "said"), list(hostile()), ids=lambda case: repr(case)[:40])
def test_a_trace_that_cannot_be_meant_is_refused_with_a_remedy(text: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(text)
    with pytest.raises(InputError) as refusal:
        read_trace(path, 2048)
    message = str(refusal.value)
    assert said in message
    assert message.startswith(str(path))
    assert ";" in message or "save it" in message
    assert len(message) < 500


def test_a_trace_is_sorted_and_counts_from_its_first_request(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("﻿user, arrival_s ,input_tokens,output_tokens\r\n\r\na, 12.5, 3, 4\r\nb,10.25,1,2\r\n", encoding="utf-8")
    assert read_trace(path, 2048) == (Arrival(0, 1, 2), Arrival(2_250_000_000, 3, 4))


OPEN_RANGE = ": write a percentage above 0 and below 100, or give --rate for an overload"


# once: 150 was told to be from 0 to 100, 0 and 100 to be above 0 and below 100.
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trace": Path("x"), "rate": 1.0}, "--rate: is of drawn arrivals"),
        ({"trace": Path("x"), "requests": 5}, "--requests: is of drawn arrivals"),
        ({"rate": 1.0, "utilisation": "50"}, "leave one out"),
        ({"rate": float("nan")}, "--rate nan"),
        ({"rate": float("inf")}, "--rate inf"),
        ({"rate": -1.0}, "--rate -1"),
        *(({"utilisation": no}, OPEN_RANGE) for no in ("0", "100", "100.0 %", "150", "-1", "0.00001", "many", "NaN", "")),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, object], said: str) -> None:
    given = {"trace": None, "rate": None, "utilisation": None, "requests": None, "seed": 0, "eager": False} | options
    with pytest.raises(InputError) as refusal:
        parse_asked(**given)
    assert said in str(refusal.value)


def test_the_command_reads_files_and_prints_one_object(tmp_path: Path) -> None:
    instance, plan = tmp_path / "service.json", tmp_path / "fleet.json"
    instance.write_text(service().model_dump_json())
    plan.write_text(json.dumps({"workers": FLEETS["side by side"]}))
    app = typer.Typer()
    app.command()(simulate)
    run = CliRunner().invoke(app, [str(instance), str(plan), "--requests", "300", "--set", "workload.output_tokens=64", "--json"])
    assert run.exit_code == 0
    result = json.loads(run.stdout)
    assert result["schema"] == "shardproof/simulate/1"
    assert result["status"] == "SIMULATED"
    assert result["arrivals"]["output_tokens_mean"] == 64
    assert CliRunner().invoke(app, [str(instance), str(plan)]).stdout.startswith("SIMULATED: 2,000 requests (Poisson, seed 0)")
    one_pass = CliRunner().invoke(app, [str(ROOT / "instances" / "llama70b_8gpu.json"), str(plan)])
    assert (one_pass.exit_code, "not a service; give" in one_pass.output) == (2, True)
    refused = CliRunner().invoke(app, [str(instance), str(plan), "--trace", str(tmp_path / "none.csv")])
    assert refused.exit_code == 2
    assert "no such file" in refused.output
