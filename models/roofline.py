"""Time of one operator on one GPU."""

from models.architecture import Architecture
from models.cluster import Accelerator
from models.operators import Work
from models.units import NS_PER_S, PPM, ceil_div


def operator_ns(accelerator: Accelerator, arch: Architecture, work: Work) -> int:
    """launch + max(FLOP / (peak * efficiency), bytes / (bandwidth * efficiency)), ns, rounded up once.

    Roofline: Williams, Waterman, Patterson, CACM 52(4), 2009. GEMMs run at the peak of the weight
    dtype, the attention core at that of the activations.
    """
    match work.kind:
        case "gemm":
            peak, efficiency = accelerator.peak_flop_per_s[arch.weight_dtype], accelerator.gemm_efficiency_ppm
        case "expert_gemm":
            peak, efficiency = accelerator.peak_flop_per_s[arch.weight_dtype], accelerator.expert_gemm_efficiency_ppm
        case "attention":
            peak, efficiency = accelerator.peak_flop_per_s[arch.activation_dtype], accelerator.attention_efficiency_ppm
    compute = ceil_div(work.flop * NS_PER_S * PPM, peak * efficiency)
    memory = ceil_div(work.bytes * NS_PER_S * PPM, accelerator.hbm_bytes_per_s * accelerator.hbm_efficiency_ppm)
    return accelerator.kernel_launch_ns + max(compute, memory)
