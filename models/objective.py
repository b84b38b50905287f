"""What is minimised: an exact integer, linear in the time of the pass."""

from typing import NamedTuple

from models.instance import Instance
from models.strategy import Strategy
from models.units import PPM


class Value(NamedTuple):
    """The objective of a strategy is `factor * step_ns + constant`."""

    factor: int
    constant: int

    def of(self, step_ns: int) -> int:
        return self.factor * step_ns + self.constant


UNITS = {
    "latency": "ns",
    "throughput": "ns",  # the tokens of a pass are fixed: most tokens/s is least time
    "throughput_per_gpu": "gpu-ns",
    "cost": "gpu-ns x micro-USD/h",
    "gpus": "gpus",
}


def value_of(instance: Instance, strategy: Strategy) -> Value:
    """latency, throughput: step; throughput_per_gpu: step * GPUs; cost: step * GPUs * price; gpus: GPUs."""
    match instance.objective.name:
        case "latency" | "throughput":
            return Value(1, 0)
        case "throughput_per_gpu":
            return Value(strategy.gpus, 0)
        case "cost":
            price = instance.cluster.pool.price_uusd_per_gpu_hour
            assert price is not None, "checked when the instance was read"
            return Value(strategy.gpus * price, 0)
        case "gpus":
            return Value(0, strategy.gpus)


def near_limit(value: int, epsilon_ppm: int) -> int:
    """Largest objective value within epsilon of `value`."""
    return value + value * epsilon_ppm // PPM
