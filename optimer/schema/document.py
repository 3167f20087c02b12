"""docs/params.md, generated from the schema: every key, its type, bounds and meaning."""

from __future__ import annotations

from typing import Any

from optimer.schema import Params

_HEAD = """# Params

Every key of `params.yaml`, generated from `optimer/schema/` by `optimer params --docs` (a test
keeps this file in step). Overlays under `scales:` may override existing keys only; mappings merge
deeply, lists are replaced; `corpus.datasets`, `combinations`, `flexibility.objectives` and
`benchmark.engine` hold names of your own and are replaced as a whole. Where a value comes from:
`optimer params --scale paper`.
"""


def markdown() -> str:
    """The whole document, one table per section."""
    schema = Params.model_json_schema()
    definitions = schema.get("$defs", {})
    lines = [_HEAD]
    seen: set[str] = set()

    def section(title: str, node: dict[str, Any]) -> None:
        lines.append(f"## {title}\n")
        if text := node.get("description"):
            lines.append(" ".join(text.split()) + "\n")
        lines.append("| key | type | bounds | meaning |\n| --- | --- | --- | --- |")
        nested = []
        for key, value in node.get("properties", {}).items():
            kind, target = _kind(value, definitions)
            meaning = " ".join(value.get("description", "").split())
            if target and target not in seen:
                seen.add(target)
                nested.append((f"{title}.{key}" if title != "params" else key, target))
                meaning = meaning or " ".join(definitions[target].get("description", "").split())
            lines.append(f"| `{key}` | {kind} | {_bounds(value)} | {meaning} |")
        lines.append("")
        for name, target in nested:
            section(name, definitions[target])

    section("params", schema)
    return "\n".join(lines).rstrip() + "\n"


def _kind(value: dict[str, Any], definitions: dict[str, Any]) -> tuple[str, str | None]:
    """(type as text, name of the section it leads to or None)."""
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[1]
        return ("section", name) if "properties" in definitions[name] else ("text", None)
    if "anyOf" in value:
        parts = [_kind(item, definitions) for item in value["anyOf"]]
        return " or ".join(part[0] for part in parts), next((p[1] for p in parts if p[1]), None)
    if "enum" in value:
        return " / ".join(f"`{item}`" for item in value["enum"]), None
    if value.get("type") == "array":
        inner, target = _kind(value.get("items", {}), definitions)
        return f"list of {inner}", target
    if value.get("type") == "object":
        by_pattern = next(iter(value.get("patternProperties", {}).values()), {})
        inner, target = _kind(value.get("additionalProperties") or by_pattern, definitions)
        return f"mapping of {inner}", target
    if "const" in value:
        return f"`{value['const']}`", None
    return str(value.get("type", "any")), None


def _bounds(value: dict[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {value[key]:g}" for key, sign in signs.items() if key in value]
    if pattern := value.get("pattern"):
        found.append("`" + pattern.replace("|", "\\|") + "`")
    if "minItems" in value:
        found.append(f"at least {value['minItems']}")
    return ", ".join(found)
