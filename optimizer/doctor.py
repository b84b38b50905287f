"""Is this installation sound? Versions, the solver's known defect, and one tiny instance by both routes."""

import platform
import time
from typing import Any

from models.errors import VerificationError
from models.instance import FORMAT, Instance
from models.result import Status
from optimizer.encoding.canary import observe
from optimizer.reading import validate
from optimizer.report import Json, header
from optimizer.search import Options, find

_ASSUMED = {"*": "assumed: round figures for a self-test"}

TINY: Json = {
    "format": FORMAT,
    "name": "self-test: two MoE layers on two nodes of two GPUs",
    "cluster": {
        "pools": [
            {
                "name": "test",
                "accelerator": {
                    "name": "test",
                    "memory_bytes": "1 GB",
                    "hbm_bytes_per_s": "1 TB/s",
                    "peak_flop_per_s": {"bf16": "100 TFLOP/s"},
                    "gemm_efficiency_ppm": "50 %",
                    "expert_gemm_efficiency_ppm": "50 %",
                    "attention_efficiency_ppm": "50 %",
                    "hbm_efficiency_ppm": "80 %",
                    "kernel_launch_ns": "5 us",
                    "sources": _ASSUMED,
                },
                "nodes": 2,
                "gpus_per_node": 2,
                "scale_up_domain_gpus": 2,
                "scale_up": {"bandwidth_bytes_per_s": "100 GB/s", "latency_ns": "3 us", "sources": _ASSUMED},
                "scale_out": {"bandwidth_bytes_per_s": "10 GB/s", "latency_ns": "5 us", "sources": _ASSUMED},
            }
        ]
    },
    "architecture": {
        "name": "test",
        "hidden_size": 256,
        "vocabulary_size": 1000,
        "tied_embeddings": False,
        "weight_dtype": "bf16",
        "kv_dtype": "bf16",
        "activation_dtype": "bf16",
        "dispatch_dtype": "bf16",
        "combine_dtype": "bf16",
        "layers": [
            {
                "count": 2,
                "attention": {"kind": "mha", "heads": 4, "head_dim": 64},
                "ffn": {"kind": "moe", "experts": 4, "top_k": 2, "intermediate_size": 512, "matrices": 3},
            }
        ],
        "source": "assumed: a self-test",
    },
    "workload": {"kind": "prefill", "sequences": 4, "tokens_per_sequence": 512, "sources": _ASSUMED},
    "runtime": {
        "activation_bytes_per_token": 4096,
        "collective_buffer_bytes": 0,
        "reserve_bytes": 0,
        "overlap_ppm": 0,
        "sources": _ASSUMED,
    },
    "expert_load": {"counts": [[8, 4, 3, 1]], "source": "assumed: skewed, so that placement matters"},
    "space": {"name": "classic"},
}


def run_doctor() -> Json:
    """Versions and self-tests; status OK or FAULTY."""
    started = time.monotonic()
    canary = observe()
    instance = validate(TINY, Instance, "self-test")
    values = {}
    for route in ("enumeration", "joint"):
        try:
            claim = find(instance, Options(route=route), lambda _: None)
            values[route] = claim.optimal[0].value if claim.status is Status.OPTIMAL else None
        except VerificationError as error:
            values[route] = None
            values[f"{route}_error"] = str(error)  # type: ignore[assignment]
    agree = values["enumeration"] is not None and values["enumeration"] == values["joint"]
    found = header("doctor", "OK" if agree and canary.safe else "FAULTY", instance, Options(), time.monotonic() - started)
    return found | {
        "tool": found["tool"] | {"python": platform.python_version()},
        "solver_defect": {
            "issue": "google/or-tools 5293",
            "present": canary.defect_present,
            "truth": canary.truth,
            "claimed_in_bytes": canary.claimed_in_bytes,
            "claimed_in_mib": canary.claimed_in_mib,
            "guard_refuses_bytes": canary.guard_refuses_bytes,
        },
        "self_test": values | {"agree": agree, "unit": "ns"},
    }


def doctor_text(r: dict[str, Any]) -> str:
    """What `doctor` prints."""
    tool, defect, test = r["tool"], r["solver_defect"], r["self_test"]
    present = f"present: claims {defect['claimed_in_bytes']} as optimal where {defect['truth']} is true" if defect["present"] else "absent"
    refused = "refused by the guard" if defect["guard_refuses_bytes"] else "NOT refused by the guard"
    versions = f"shardproof {tool['shardproof']}, {tool['cost_model']}, ortools {tool['ortools']}, Python {tool['python']}"
    return "\n".join(
        [
            f"{r['status']}: {versions}",
            f"solver defect {defect['issue']}: {present}; such models are {refused}; in MiB the solver claims {defect['claimed_in_mib']}",
            f"self-test optimum: enumeration {test['enumeration']} ns, joint CP-SAT model {test['joint']} ns, both checked",
        ]
    )
