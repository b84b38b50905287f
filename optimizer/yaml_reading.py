"""YAML, restricted to what JSON can say: no tags, no aliases, no duplicate keys, no dates."""

import re
from typing import Any

import yaml

from models.errors import InputError

MAX_CHARACTERS = 200_000
MAX_DEPTH = 40  # levels of nesting, as in JSON


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader that resolves only null, true/false and integers; everything else stays text."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise InputError("YAML aliases are not read; write the value out")
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise InputError(f"YAML tag {event.tag} is not read; remove it")
        self.depth = getattr(self, "depth", 0) + 1
        if self.depth > MAX_DEPTH:
            raise InputError(f"nested too deeply; at most {MAX_DEPTH} levels are read")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise InputError("YAML keys must be plain text")
            if key.value in seen:
                raise InputError(f'"{key.value[:60]}" is given twice in one object; keep one')
            seen.add(key.value)
            key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep=deep)


_PlainLoader.yaml_implicit_resolvers = {}


def _add(tag: str, pattern: str, first: str) -> None:
    _PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_add("bool", r"^(?:true|false)$", "tf")
_add("null", r"^(?:null|~)$", "n~")
_add("int", r"^-?(?:0|[1-9][0-9]{0,30})$", "-0123456789")


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Raises InputError with the line when it cannot be read."""
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"{len(text)} characters of YAML; above {MAX_CHARACTERS} write JSON, which is read much faster")
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InputError(f"{where}not YAML ({error.problem}); correct it there") from error
    except yaml.YAMLError as error:
        raise InputError(f"not YAML ({error}); correct it") from error
