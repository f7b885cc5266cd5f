"""Has Grafana's own models of a dashboard read the one in `contrib`, and write it again.

What they do not know they leave out, so each field of the file must come back as it was; and each value must be of the type that the
model gives its field. Argument: the dashboard.
"""

import copy
import enum
import json
import sys
import types
import typing
from importlib.metadata import version

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(ours, theirs, path="dashboard"):
    """Where what came back is not what was given. They add what is the default."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from lost(value, theirs[key], f"{path}.{key}")
            else:
                yield f"{path}.{key} is not known"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (our, their) in enumerate(zip(ours, theirs)):
            yield from lost(our, their, f"{path}[{index}]")
    elif ours != theirs:
        yield f"{path} is {ours!r}, and comes back as {theirs!r}"


def fits(value, hint):
    """Whether a value is of a type, as far as this can tell."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in (object, typing.Any):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is list:
        return isinstance(value, list) and all(fits(one, inner[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(one, inner[1]) for one in value.values())
    if not isinstance(hint, type):
        return True
    if issubclass(hint, enum.Enum):
        return value in [one.value for one in hint]
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, (int, float))
    return isinstance(value, hint)


def misfits(value, path="dashboard"):
    """Which of a model's values are not of their type."""
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from misfits(one, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from misfits(one, f"{path}.{key}")
    elif type(value).__module__.startswith("grafana_foundation_sdk.models") and hasattr(value, "__dict__"):
        hints = typing.get_type_hints(type(value))
        for name, one in vars(value).items():
            if name in hints and not fits(one, hints[name]):
                yield f"{path}.{name} is {one!r}, not {hints[name]}"
            yield from misfits(one, f"{path}.{name}")


def complaints(dashboard):
    model = Dashboard.from_json(copy.deepcopy(dashboard))
    written = json.loads(JSONEncoder().encode(model))
    return [*lost(dashboard, written), *misfits(model)]


def main():
    plugins.register_default_plugins()
    with open(sys.argv[1], encoding="utf-8") as file:
        dashboard = json.load(file)
    found = complaints(dashboard)
    assert not found, "\n".join(found)

    # That it would say so is seen of one mistake in each place.
    lines = next(panel for panel in dashboard["panels"] if panel["type"] == "timeseries")
    for place, mistake in [
        (dashboard, {"tiemzone": "browser"}),
        (dashboard, {"title": 7}),
        (dashboard["templating"]["list"][0], {"type": "no such"}),
        (dashboard["panels"][0], {"gridpos": {}}),
        (dashboard["panels"][0]["gridPos"], {"w": "wide"}),
        (lines["options"], {"lengend": {}}),
        (lines["targets"][0], {"exprs": "up"}),
        (lines["targets"][0], {"expr": ["up"]}),
        (lines["fieldConfig"]["defaults"], {"unti": "s"}),
    ]:
        before = dict(place)
        place.update(mistake)
        assert complaints(dashboard), mistake
        place.clear()
        place.update(before)
    panels = sum(1 + len(panel.get("panels", [])) for panel in dashboard["panels"])
    grafana = version("grafana_foundation_sdk").split("!")[-1]
    print(f"ok: the dashboard: {panels} panels, as the models of Grafana {grafana} have them")


main()
