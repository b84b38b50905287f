"""A second check of expert maps and their arguments, written from docs/certificate.md alone: plain loops over plain JSON."""

from fractions import Fraction
from math import ceil
from typing import NamedTuple

from second_arguments import closed, refutes, shape_of
from second_grammar import Json, need

G = 720_720


class Shown(NamedTuple):
    """A layer under one workload; W in 1/G tokens."""

    w: list[int]
    ranks: int
    slots: int
    nodes: int
    fixed: list[int] | None
    homes: list[int] | None
    ppm: int | None

    @property
    def redundant(self) -> bool:
        return self.ranks * self.slots != len(self.w)

    def allowed(self) -> list[list[int]]:
        """Numbers of replicas of each expert."""
        most = min(self.ranks, self.ranks * self.slots - len(self.w) + 1)
        return [[c] for c in self.fixed] if self.fixed is not None else [list(range(1, most + 1)) for _ in self.w]


def expert_map(claim: Json) -> None:
    """Every layer's placement has its values, and its bounds follow from closed forms and facts."""
    setting = claim["setting"]
    ranks, slots, nodes, dispatch = setting["ranks"], setting["slots"], setting.get("nodes", 1), setting.get("dispatch", "equal")
    need(ranks % nodes == 0 and claim["layers"], "nodes of unequal size, or no layers")
    for layer in claim["layers"]:
        rows, contents, facts = layer["loads"], layer["placement"], layer.get("facts", [])
        need(rows and len(rows) == len(layer["values"]) == len(layer["bounds"]), "not a value and a bound for each workload")
        need({len(row) for row in rows} == {len(rows[0])} and all(map(sum, rows)), "ragged loads, or no tokens")
        need(len(contents) == ranks and all(len(rank) == slots == len(set(rank)) for rank in contents), "slots empty, or an expert twice")
        held = [[r for r in range(ranks) if e in contents[r]] for e in range(len(rows[0]))]
        need(all(held) and {e for rank in contents for e in rank} == set(range(len(held))), "experts missing, or unknown")
        fixed, homes, ppm = layer.get("fixed"), layer.get("homes"), layer.get("off_home_ppm")
        need(fixed is None or fixed == [len(holders) for holders in held], "other replicas than given")
        need(homes is not None or ppm is None, "a limit off home without homes")
        if homes is not None:
            keeps_homes(held, homes, ranks // nodes, rows, ppm)
        shown = [Shown([G * x for x in row], ranks, slots, nodes, fixed, homes, ppm) for row in rows]
        least = [bound_of(of_row, dispatch) for of_row in shown]
        for fact in facts:
            need(fact["workload"] < len(rows) and fact["least"] >= 1 and dispatch == "equal", "a fact about something else")
            of_row = shown[fact["workload"]]
            need(proves(of_row, fact["least"] - 1, fact["argument"]), "an argument that does not hold")
            least[fact["workload"]] = max(least[fact["workload"]], fact["least"])
        for of_row, value, bound, known in zip(shown, layer["values"], layer["bounds"], least, strict=True):
            need(value == share(of_row, ceil(largest(held, of_row, dispatch))), "another value")
            need(bound <= share(of_row, known), "a bound that is not shown")


def share(of: Shown, t: int) -> int:
    return ceil(Fraction(10**9 * t * of.ranks, sum(of.w)))


def keeps_homes(held: list[list[int]], homes: list[int], per_node: int, rows: list[list[int]], ppm: int | None) -> None:
    need(len(homes) == len(held), "not a home for each expert")
    away = [sum(r // per_node != home for r in holders) for holders, home in zip(held, homes, strict=True)]
    need(all(a < len(holders) for a, holders in zip(away, held, strict=True)), "an expert without a replica at home")
    for row in rows:
        served = sum(ceil(Fraction(G * x * a, len(holders))) for x, a, holders in zip(row, away, held, strict=True))
        need(ppm is None or served <= Fraction(ppm * G * sum(row), 10**6), "too much load off home")


# What ranks carry


def largest(held: list[list[int]], of: Shown, dispatch: str) -> Fraction | int:
    """The largest rank load, in 1/G."""
    if dispatch == "free":
        low, high = 0, sum(of.w)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if splits(held, of.w, of.ranks, middle) else (middle + 1, high)
        return low
    found, per_node = [Fraction(0)] * of.ranks, of.ranks // of.nodes
    for holders, w in zip(held, of.w, strict=True):
        if dispatch == "equal":
            parts = [(r, Fraction(w, len(holders))) for r in holders]
        else:
            receivers = (receivers_of(sender, holders, per_node) for sender in range(of.ranks))
            parts = [(r, Fraction(w, of.ranks * len(to))) for to in receivers for r in to]
        for r, part in parts:
            found[r] += part
    return max(found)


def receivers_of(sender: int, holders: list[int], per_node: int) -> list[int]:
    """Who gets what a rank sends to an expert, in equal parts: itself, or the first of its node, or all."""
    near = [r for r in holders if r // per_node == sender // per_node]
    if sender in holders:
        return [sender]
    return [min(near)] if near and len(near) < len(holders) else holders


def splits(held: list[list[int]], w: list[int], ranks: int, t: int) -> bool:
    """Whether all load can be split so that no rank has more than t: a flow, path by path."""
    room, flow = [t] * ranks, [dict.fromkeys(holders, 0) for holders in held]

    def push(e: int, amount: int, seen: set[int]) -> int:
        """How much more of expert e finds room, at most `amount`."""
        for r in flow[e]:
            if r not in seen:
                seen.add(r)
                moved = min(amount, room[r])
                room[r] -= moved
                if not moved:
                    for other in range(len(flow)):
                        if other != e and flow[other].get(r):
                            moved = push(other, min(amount, flow[other][r]), seen)
                            flow[other][r] -= moved
                            if moved:
                                break
                if moved:
                    flow[e][r] += moved
                    return moved
        return 0

    for e, left in enumerate(w):
        while left:
            moved = push(e, left, set())
            if not moved:
                return False
            left -= moved
    return True


# Closed forms


def bound_of(of: Shown, dispatch: str) -> int:
    """The largest closed form."""
    found = plain(of.w, of.ranks, of.slots)
    if of.fixed is not None and dispatch == "equal":
        found = max(found, full([w // c for w, c in zip(of.w, of.fixed, strict=True) for _ in range(c)], of.ranks))
    if of.homes is not None and of.ppm == 0:
        own = [[w for w, home in zip(of.w, of.homes, strict=True) if home == n] for n in range(of.nodes)]
        found = max(found, *(plain(node, of.ranks // of.nodes, of.slots) for node in own if node))
    return found


def plain(w: list[int], m: int, slots: int) -> int:
    """Mean, replicas, and those without redundancy."""
    if len(w) == m * slots:
        return full(w, m)
    candidates = sorted({1} | {ceil(Fraction(x, c)) for x in w for c in range(1, m + 1) if x})
    enough = (t for t in candidates if sum(max(1, ceil(Fraction(x, t))) for x in w) <= m * slots and ceil(Fraction(max(w), t)) <= m)
    return max(ceil(Fraction(sum(w), m)), next(enough))


def full(w: list[int], m: int) -> int:
    return closed(shape_of({"loads": w, "classes": [{"ranks": m, "slots": len(w) // m}]}))


# Arguments


def proves(of: Shown, t: int, argument: Json) -> bool:
    """Whether in every placement some rank carries more than t."""
    if argument["kind"] in ("steps", "counts"):
        return pairs_only(argument) and by_counts(of, t, argument, of.allowed())
    if argument["kind"] == "nodes":
        return by_nodes(of, t, argument)
    return not of.redundant and refutes(shape_of({"loads": of.w, "classes": [{"ranks": of.ranks, "slots": of.slots}]}), t, argument)


def pairs_only(argument: Json) -> bool:
    """Whether every step is a threshold and a rise."""
    if argument["kind"] == "counts":
        return pairs_only(argument["fewer"]) and pairs_only(argument["more"])
    return all(len(step) == 2 for step in argument["steps"])


def by_counts(of: Shown, t: int, argument: Json, allowed: list[list[int]]) -> bool:
    """Both cases of a decision; or steps, under the counts left."""
    if argument["kind"] == "steps":
        return by_steps(of, t, argument, allowed)
    e, most = argument["expert"], argument["most"]
    if e >= len(allowed):
        return False
    cases = (("fewer", [c for c in allowed[e] if c <= most]), ("more", [c for c in allowed[e] if c > most]))
    return all(not left or by_counts(of, t, argument[name], [*allowed[:e], left, *allowed[e + 1 :]]) for name, left in cases)


def by_steps(of: Shown, t: int, argument: Json, allowed: list[list[int]]) -> bool:
    thresholds = [0] + [at for at, _ in argument["steps"]]
    if of.slots > 3 or thresholds != sorted(thresholds):
        return False

    def worth(size: int) -> int:
        return int(argument["base"] + sum(rise for at, rise in argument["steps"] if at <= size))

    def most(slots: int, room: int) -> int:
        if slots == 1:
            return worth(room)
        return max(worth(at) + most(slots - 1, room - at) for at in thresholds if at <= room)

    fitting = [[c for c in counts if w // c <= t] for w, counts in zip(of.w, allowed, strict=True)]
    if not all(fitting):
        return True
    supply = sum(min(c * worth(w // c) for c in counts) for w, counts in zip(of.w, fitting, strict=True))
    return supply > of.ranks * most(of.slots, t)


def by_nodes(of: Shown, t: int, argument: Json) -> bool:
    load, price, away = argument["load"], argument["slots"], argument["off_home"]
    if of.homes is None or not len(load) == len(price) == of.nodes or (away and of.ppm is None):
        return False
    per_node, supply = of.ranks // of.nodes, 0
    for w, home, counts in zip(of.w, of.homes, of.allowed(), strict=True):
        costs = [
            placed_on(home, c, per_node, [w * (load[n] + away * (n != home)) + c * price[n] for n in range(of.nodes)]) // c
            for c in counts
            if w // c <= t
        ]
        if not costs:
            return True
        supply += min(costs)
    limit = ceil(Fraction((of.ppm or 0) * sum(of.w), 10**6))
    return supply > per_node * (t * sum(load) + of.slots * sum(price)) + away * limit


def placed_on(home: int, c: int, per_node: int, each: list[int]) -> int:
    """The least cost of c replicas on the nodes, one at least at home: of each number on the first nodes, the least."""
    least = {0: 0}
    for n, cost in enumerate(each):
        grown: dict[int, int] = {}
        for before, total in least.items():
            for here in range(int(n == home), min(per_node, c - before) + 1):
                grown[before + here] = min(grown.get(before + here, total + here * cost), total + here * cost)
        least = grown
    return least[c]
