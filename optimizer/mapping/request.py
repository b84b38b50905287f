"""What `place` is asked for: loads, machine, rules, and what to compare with. Every contradiction ends here, in one sentence."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from models.dispatch import Dispatch
from models.errors import InputError
from models.expert_map import Setting
from models.instance import Instance
from models.memory import layer_weight_bytes
from models.strategy import RankContents
from optimizer.mapping.layers import PlaceOptions
from optimizer.mapping.loads import LoadMatrix, read_loads, read_workloads
from optimizer.mapping.maps import contents_of, read_map
from optimizer.reading import read_data, read_record

HIERARCHIES = ("none", "strict", "soft")
DISPATCHES = ("equal", "nearest", "free")
INSTANCE_SUFFIXES = (".json", ".yaml", ".yml")
MOST_SLOTS = 1_000_000  # of one layer


class Machine(NamedTuple):
    """What the command line says of ranks, slots and nodes; None where it leaves them to an instance file or to the search."""

    ranks: int | None = None
    slots: int | None = None
    nodes: int | None = None
    groups: int | None = None
    memory_bytes: int | None = None
    """for routed experts, of one GPU"""
    expert_bytes: int | None = None
    """weights of one expert of one layer on one GPU"""


class Rules(NamedTuple):
    """How experts may be placed, and what counts."""

    dispatch: str = "equal"
    hierarchy: str = "none"
    off_home_ppm: int | None = None
    """mean over the layers"""
    weights: tuple[int, ...] | None = None
    replicas: Path | None = None
    target_ppm: int | None = None
    """wanted mean over the layers of the largest load over the mean"""


class Numbering(NamedTuple):
    """How the rows of the loads are numbered among the layers of the model."""

    first_layer: int = 0
    """model layer of the first row"""
    model_layers: int | None = None
    """None: the rows end with the model"""


class Wanted(NamedTuple):
    """What is to be reported besides the placement."""

    compared_with: Path | None = None
    judged: bool = False
    front: bool = False
    loss_ppm: int | None = None
    """stay near the current placement, at most so far above the best load found"""


class Request(NamedTuple):
    """One well-formed question."""

    workloads: tuple[LoadMatrix, ...]
    setting: Setting
    rules: Rules
    groups: int
    fixed: tuple[tuple[int, ...], ...] | None
    """[layer][expert], replicas that are given"""
    baseline: dict[int, RankContents]
    """of each layer with tokens, by its number in the model: the placement to compare with"""
    baseline_name: str
    compared_with: Path | None
    """the file of the baseline; None: the engines' default order"""
    numbering: Numbering
    slot_bytes: int | None
    """weights of one slot in all layers, of one GPU"""
    memory_bytes: int | None
    options: PlaceOptions
    instance: Instance | None

    @property
    def layers(self) -> list[int]:
        """Rows with tokens."""
        return [n for n, row in enumerate(self.workloads[0].counts) if any(row)]

    @property
    def experts(self) -> int:
        return len(self.workloads[0].counts[0])


def make_request(
    paths: Sequence[Path], machine: Machine, rules: Rules, numbering: Numbering, wanted: Wanted, options: PlaceOptions
) -> Request:
    """The question that files and options ask. Raises InputError, naming the option, where they contradict each other."""
    instance = _instance(paths)
    workloads = read_workloads(paths) if instance is None else (_loads_of(instance, paths[0]),)
    experts, layers = len(workloads[0].counts[0]), len(workloads[0].counts)
    _check_machine(machine, rules, instance)
    if wanted.compared_with is not None:
        machine = _fitting_map(machine, wanted.compared_with, _ranks_of(instance))
    if rules.target_ppm is not None:
        machine = machine._replace(slots=None)  # the search begins with the fewest
    machine = machine if instance is None else _machine_of(instance, machine)
    _check_rules(rules, len(workloads))
    _check_wanted(rules, wanted, len(workloads))
    setting = _setting(machine, rules, experts)
    groups = machine.groups or setting.nodes
    _check_homes(rules, setting, groups, experts)
    with_tokens = [n for n, row in enumerate(workloads[0].counts) if any(row)]
    first = numbering.first_layer
    model_layers = first + layers if numbering.model_layers is None else numbering.model_layers
    if first + layers > model_layers:
        raise InputError(f"--model-layers {model_layers}: the loads have {layers} rows from layer {first}; give at least {first + layers}")
    baseline, name = _baseline(wanted.compared_with, with_tokens, experts, setting, first)
    return Request(
        workloads=workloads,
        setting=setting,
        rules=rules,
        groups=groups,
        fixed=_fixed(rules.replicas, workloads[0], setting),
        baseline=baseline,
        baseline_name=name,
        compared_with=wanted.compared_with,
        numbering=Numbering(first, model_layers),
        slot_bytes=None if machine.expert_bytes is None else machine.expert_bytes * len(with_tokens),
        memory_bytes=machine.memory_bytes,
        options=options,
        instance=instance,
    )


def _check_machine(given: Machine, rules: Rules, instance: Instance | None) -> None:
    """Raises InputError for what the command line says of the machine and nothing would use."""
    if rules.target_ppm is not None and given.slots is not None:
        raise InputError(f"--slots {given.slots}: --target searches the number of slots; remove one of them")
    if instance is None and (given.memory_bytes is None) != (given.expert_bytes is None):
        raise InputError("--memory and --expert-size need each other; give both, or neither")


def _setting(machine: Machine, rules: Rules, experts: int) -> Setting:
    """Ranks, slots and nodes that fit together."""
    ranks, nodes = machine.ranks, machine.nodes or 1
    if ranks is None:
        raise InputError("--ranks is missing; give the number of expert-parallel ranks")
    least = -(-experts // ranks)
    if machine.slots is None and rules.target_ppm is None:
        raise InputError(f"--slots is missing; give the slots per rank, at least {least} for {experts} experts, or a --target")
    slots = least if machine.slots is None else machine.slots
    if ranks % nodes:
        raise InputError(f"--nodes {nodes}: {ranks} ranks do not divide over them; give a divisor of the ranks")
    if not least <= slots <= experts or ranks * slots > MOST_SLOTS:
        raise InputError(
            f"--slots {slots}: {ranks} ranks need at least {least} and at most {experts} each for {experts} experts, none twice; "
            f"at most {MOST_SLOTS:,} in all"
        )
    dispatch: Dispatch = rules.dispatch  # type: ignore[assignment]
    return Setting(ranks=ranks, slots=slots, nodes=nodes, dispatch=dispatch)


def _check_homes(rules: Rules, setting: Setting, groups: int, experts: int) -> None:
    """Raises InputError where homes cannot be given, or an option needs them."""
    if rules.hierarchy == "none":
        if rules.off_home_ppm is not None:
            raise InputError("--off-home needs homes; add --hierarchy soft")
        return
    if setting.nodes == 1 or groups % setting.nodes or experts % groups:
        raise InputError(
            f"--hierarchy {rules.hierarchy}: {experts} experts in {groups} groups on {setting.nodes} nodes; "
            "give --nodes above 1 that divide --groups, which must divide the experts"
        )
    if rules.hierarchy == "strict" and rules.off_home_ppm:
        raise InputError("--off-home: nothing is served off home under --hierarchy strict; use soft")


def _check_rules(rules: Rules, workloads: int) -> None:
    """Raises InputError for values that no list holds, and for combinations that mean nothing."""
    for option, value, known in (("--dispatch", rules.dispatch, DISPATCHES), ("--hierarchy", rules.hierarchy, HIERARCHIES)):
        if value not in known:
            raise InputError(f'{option} "{value[:40]}": write one of {", ".join(known)}')
    if rules.weights is not None and (len(rules.weights) != workloads or not all(0 < w <= 10**6 for w in rules.weights)):
        raise InputError(f"--weights: {len(rules.weights)} for {workloads} load files; give one whole number from 1 to 1,000,000 for each")
    if rules.hierarchy != "none" and rules.dispatch != "equal":
        raise InputError(f"--dispatch {rules.dispatch}: homes are placed for the equal split only; use equal, or remove --hierarchy")
    if rules.hierarchy != "none" and rules.replicas is not None:
        raise InputError("--replicas: given replicas and homes are not placed together; remove one of --replicas and --hierarchy")
    if rules.target_ppm is not None and rules.replicas is not None:
        raise InputError("--target searches the number of slots, which --replicas gives; remove one of them")


def _check_wanted(rules: Rules, wanted: Wanted, workloads: int) -> None:
    """Raises InputError where what is asked for besides does not fit the rules."""
    if wanted.front and rules.hierarchy != "soft":
        raise InputError("--front needs homes; add --hierarchy soft")
    plain = rules.dispatch == "equal" and rules.hierarchy == "none" and rules.replicas is None and rules.target_ppm is None
    if wanted.loss_ppm is not None and not (plain and workloads == 1):
        raise InputError("--loss works with one load file and plain placement; remove the other rules, or --loss")


def _instance(paths: Sequence[Path]) -> Instance | None:
    """The instance file among the paths, if it is one; it stands alone."""
    for path in paths:
        if path.suffix.lower() in INSTANCE_SUFFIXES and path.is_file() and path.stat().st_size < 5_000_000:
            data = read_data(path)
            if isinstance(data, dict) and str(data.get("format", "")).startswith("shardproof-instance"):
                if len(paths) > 1:
                    raise InputError(f"{path}: is an instance, which stands alone; give it alone, or load files only")
                return read_record(path, Instance)
    return None


def _loads_of(instance: Instance, path: Path) -> LoadMatrix:
    """The instance's loads, a row for each layer of the model."""
    if instance.expert_load is None:
        raise InputError(f"{path}: expert_load is missing; without it every placement is as good as another, add the counts")
    groups, position, rows = instance.architecture.layers, 0, []
    for g in instance.architecture.group_of_layer():
        moe = groups[g].moe is not None
        rows.append(instance.load_of_moe_layer(position) if moe else (0,) * instance.architecture.experts)
        position += moe
    return LoadMatrix(instance.name, tuple(rows))


def _machine_of(instance: Instance, given: Machine) -> Machine:
    """What the instance says, where the command line is silent: EP of the reference plan, scale-up domains as nodes, groups, bytes."""
    arch, pool = instance.architecture, instance.cluster.pool
    ranks = given.ranks or _ranks_of(instance)
    moe = next(group for group in arch.layers if group.moe is not None)
    assert moe.moe is not None
    nodes = given.nodes
    if nodes is None and ranks is not None and ranks % pool.scale_up_domain_gpus == 0:
        nodes = ranks // pool.scale_up_domain_gpus
    slots = given.slots or (-(-arch.experts // ranks) if ranks else None)
    expert = layer_weight_bytes(arch, moe, 1, 1, 1) - layer_weight_bytes(arch, moe, 1, 1, 0)
    return Machine(
        ranks,
        slots,
        nodes,
        given.groups or (moe.moe.groups if moe.moe.groups > 1 else None),
        given.memory_bytes or pool.accelerator.memory_bytes,
        given.expert_bytes or expert,
    )


def _ranks_of(instance: Instance | None) -> int | None:
    """EP of the instance's reference plan, if there is one."""
    return None if instance is None or instance.reference is None else instance.reference.degrees.ep


def _fitting_map(machine: Machine, path: Path, otherwise: int | None) -> Machine:
    """Ranks and slots of the map, where the command line is silent; `otherwise` as many ranks, where the map is silent too."""
    found = read_map(path)
    ranks = machine.ranks or found.ranks or otherwise
    width = len(next(iter(found.layers.values())))
    if ranks is not None and width % ranks:
        raise InputError(f"{path}: {width} slots per layer do not divide over {ranks} ranks; give --ranks that divide them")
    slots = None if ranks is None else width // ranks
    if machine.slots is not None and slots is not None and machine.slots != slots:
        raise InputError(f"--slots {machine.slots}: {path} has {slots} slots per rank; give that number, or leave --slots out")
    return machine._replace(ranks=ranks, slots=slots)


def _fixed(path: Path | None, loads: LoadMatrix, setting: Setting) -> tuple[tuple[int, ...], ...] | None:
    """The replicas of each expert, [layer][expert], where a file gives them."""
    if path is None:
        return None
    found, slots = read_loads(path).counts, setting.ranks * setting.slots
    if (len(found), len(found[0])) != (len(loads.counts), len(loads.counts[0])):
        raise InputError(f"--replicas {path}: {len(found)} layers of {len(found[0])} experts; give as many as the loads have")
    for n, row in enumerate(found):
        if any(loads.counts[n]) and (sum(row) != slots or min(row) < 1 or max(row) > setting.ranks):
            raise InputError(
                f"--replicas {path}: layer {n}: {sum(row)} replicas for {slots} slots; give 1 to {setting.ranks} for each expert"
            )
    return found


def _baseline(
    current: Path | None, layers: Sequence[int], experts: int, setting: Setting, first: int
) -> tuple[dict[int, RankContents], str]:
    """The placement to compare with: the one given, or the engines' default, slot i holding expert i modulo their number."""
    if current is not None:
        try:
            found = contents_of(read_map(current), [n + first for n in layers], experts, setting.ranks)
        except InputError as error:
            raise InputError(str(error) if str(current) in str(error) else f"{current}: {error}") from error
        return found, str(current.name)
    row = tuple(slot % experts for slot in range(setting.ranks * setting.slots))
    contents = tuple(row[r * setting.slots : (r + 1) * setting.slots] for r in range(setting.ranks))
    return dict.fromkeys([n + first for n in layers], contents), "the engines' default order"
