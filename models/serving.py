"""What requests see of the two kinds of pass: a server that prefills and decodes on the same GPUs, and a batch that runs to its end."""

from models.cluster import Link
from models.evaluate import stage_memory
from models.instance import Instance
from models.strategy import Plan
from models.terms import Terms
from models.units import NS_PER_S, PPM, ceil_div, transfer_ns


def token_ns(decode_ns: int, prefill_ns: int, sequences: int, output_tokens: int, interference_ppm: int) -> int:
    """Time per output token of a server that prefills between decode steps, ns, rounded up.

    TPOT = decode step + interference * (sequences - 1) * prefill / output tokens: while one request decodes, each of the others in
    flight on its data-parallel rank is prefilled once per its own output.
    """
    return decode_ns + ceil_div((sequences - 1) * prefill_ns * interference_ppm, output_tokens * PPM)


def batch_ns(decode_ns: int, prefill_ns: int, output_tokens: int) -> int:
    """A batch that starts and ends together: one prefill gives the first token, a decode step each other one."""
    return prefill_ns + (output_tokens - 1) * decode_ns


def requests_ns(decode_ns: int, prefill_ns: int, first_ns: int, sequences: int, output_tokens: int, interference_ppm: int) -> int:
    """Time in which a saturated server completes one request of each of its sequences, ns: how long a request holds its slot.

    Its own first token takes `first_ns` from the beginning of its prefill, though no less than a prefill of another; each of those
    delays its decode steps by the interfering share. So requests in flight = rate * time in flight (Little).
    """
    other = ceil_div(prefill_ns * interference_ppm, PPM)
    return max(other, first_ns) + (sequences - 1) * other + output_tokens * decode_ns


def gathering_ns(ranks: int, sequences: int, requests_ns: int) -> int:
    """Mean wait of a prompt until there is one for every data-parallel rank, ns, rounded up.

    (DP - 1) / (2 * DP * rate of a rank), of prompts that come evenly at the rate of `sequences` per rank in `requests_ns`: a pass over
    fewer ranks takes as long, so that full rates need full rounds.
    """
    return ceil_div((ranks - 1) * requests_ns, 2 * ranks * sequences)


def tokens_per_1000_s(decode_ns: int, prefill_ns: int, sequences: int, output_tokens: int, interference_ppm: int) -> int:
    """Output tokens of a saturated server in 1,000 s, rounded down."""
    first_ns = prefill_ns + decode_ns
    return sequences * output_tokens * 10**12 // requests_ns(decode_ns, prefill_ns, first_ns, sequences, output_tokens, interference_ppm)


def sequences_that_fit(instance: Instance, plan: Plan, most: int) -> int:
    """The most sequences per data-parallel rank, up to `most`, whose cache fits beside all else on every GPU; 0 where none does.

    `instance` is a decode workload; memory grows with its sequences, so bisection finds the last that fits.
    """
    s, room = plan.strategy, instance.cluster.pool.accelerator.memory_bytes
    if most < 1:
        return 0

    def fits(sequences: int) -> bool:
        workload = instance.workload.model_copy(update={"sequences": sequences * s.dp * s.replicas})
        memory = stage_memory(Terms(instance.model_copy(update={"workload": workload})), plan)
        return max(sum(stage.values()) for stage in memory) <= room

    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def first_token_ns(decode_ns: int, prefill_ns: int, sequences: int, in_step_ppm: int) -> int:
    """Time to the first token on a server of few requests, ns, rounded up.

    TTFT = prefill + decode step + share in step * (sequences - 1) / 2 * prefill: requests of equal lengths end, and are replaced,
    together, and a new one waits for half of the others' prefills; of lengths drawn at random fewer coincide.
    """
    return prefill_ns + decode_ns + ceil_div((sequences - 1) * prefill_ns * in_step_ppm, 2 * PPM)


def per_giga_second(requests: int, ns: int) -> int:
    """Requests in 10**9 s of a worker that completes `requests` of them every `ns`, rounded down."""
    return requests * NS_PER_S * NS_PER_S // max(1, ns)


def cache_ns(cache_bytes: int, stages: int, link: Link) -> int:
    """Time to move `cache_bytes` of the caches on a GPU through its port, ns: stages send their equal parts at once; rounded up."""
    return transfer_ns(ceil_div(cache_bytes, stages), link.bandwidth_bytes_per_s)


def chunked_ns(slowest_ns: int, sent_ns: int, stages: int, chunks: int) -> int:
    """Chunks that follow each other through the stages, ns: (chunks + PP - 1) * slowest stage + (PP - 1) * transfer."""
    return (chunks + stages - 1) * slowest_ns + (stages - 1) * sent_ns


def cycle_ns(slowest_ns: int, sent_ns: int, stages: int) -> int:
    """Time per token of a decode step, ns, with as many micro-batches in flight as stages: PP * slowest stage + (PP - 1) * transfer."""
    return stages * slowest_ns + (stages - 1) * sent_ns
