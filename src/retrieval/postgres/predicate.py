"""Compiles predicates (filter, visibility, exclusions) to SQL over the columns that items and embeddings share.

The meaning is `domain.filters.matches` and `domain.visibility.can_see`; values travel as parameters only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.domain.filters import Exists, Filter, ItemIdIn, MatchAny, Range
from retrieval.domain.model import BUILTIN_ATTRIBUTES, AttributeType
from retrieval.postgres.times import to_moment

if TYPE_CHECKING:
    from retrieval.domain.filters import Condition
    from retrieval.domain.model import Collection, Viewer
    from retrieval.domain.search import Predicate

_CASTS = {
    AttributeType.KEYWORD: ("", "text"),
    AttributeType.INT64: ("::bigint", "bigint"),
    AttributeType.DOUBLE: ("::double precision", "double precision"),
    AttributeType.BOOL: ("::boolean", "boolean"),
    AttributeType.TIMESTAMP: ("::bigint", "bigint"),
}
_OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def attribute_expression(name: str, kind: AttributeType) -> str:
    """SQL of a declared attribute's value; the attribute indexes are built on exactly this text."""
    if kind is AttributeType.KEYWORD_LIST:
        return f"(attributes -> '{name}')"
    return f"(attributes ->> '{name}'){_CASTS[kind][0]}"


class Parameters:
    """Numbers the parameters of one statement; `walled`: the statement is to tell the policies who is asking."""

    def __init__(self, *values: Any, walled: bool = False) -> None:
        self.values: list[Any] = list(values)
        self.walled = walled

    def add(self, value: Any) -> str:
        """The placeholder of a new parameter."""
        self.values.append(value)
        return f"${len(self.values)}"


def compile_predicate(predicate: Predicate, collection: Collection, parameters: Parameters) -> str:
    """SQL condition of a predicate; its values are appended to `parameters`."""
    parts = []
    if not predicate.viewer.unrestricted:
        parts.append(compile_visibility(predicate.viewer, parameters))
    if not predicate.filter.empty:
        parts.append(_filter(predicate.filter, collection, parameters))
    if predicate.excluded_item_ids:
        # A subquery is hashed once a statement; "<> ALL" with a parameter compares with every id for every row.
        ids = parameters.add(list(predicate.excluded_item_ids))
        parts.append(f"item_id NOT IN (SELECT unnest({ids}::text[]))")
    if predicate.excluded_owner_ids:
        parts.append(f"owner_id <> ALL ({parameters.add(list(predicate.excluded_owner_ids))}::text[])")
    return " AND ".join(parts) or "true"


def compile_visibility(viewer: Viewer, parameters: Parameters) -> str:
    """SQL condition of what a viewer may see; in a walled statement it tells the policies of the viewer, too."""
    told, visible = tell_policies(viewer, parameters), visible_rows(viewer, parameters)
    return f"{told} AND {visible}" if told else visible


def visible_rows(viewer: Viewer, parameters: Parameters) -> str:
    """The condition itself: `can_see` over the columns."""
    if viewer.unrestricted:
        return "true"
    if not viewer.user_id and not viewer.group_ids:
        return "listed"
    options = ["listed"]
    if viewer.user_id:
        options.append(f"owner_id = {parameters.add(viewer.user_id)}::text")
    if viewer.group_ids:
        groups = parameters.add(list(viewer.group_ids))
        options.append(f"(visibility = 'groups' AND status = 'approved' AND audience && {groups}::text[])")
    return f"({' OR '.join(options)})"


def tell_policies(viewer: Viewer, parameters: Parameters) -> str:
    """SQL that sets what the policies go by, until the end of the statement; empty where they need no telling.

    Postgres looks at a condition without columns before it reads the first row ("One-Time Filter" in EXPLAIN), so this
    costs no round trip. A statement without it sees what everybody may see.
    """
    if not parameters.walled or not (viewer.user_id or viewer.group_ids):
        return ""
    user, groups = parameters.add(viewer.user_id), parameters.add(list(viewer.group_ids))
    return (
        f"(SELECT set_config('retrieval.viewer_id', {user}::text, true)"
        f" || set_config('retrieval.group_ids', {groups}::text[]::text, true)) IS NOT NULL"
    )


def _filter(tree: Filter, collection: Collection, parameters: Parameters) -> str:
    parts = [_condition(c, collection, parameters) for c in tree.must]
    if tree.should:
        parts.append(f"({' OR '.join(_condition(c, collection, parameters) for c in tree.should)})")
    parts += [f"({_condition(c, collection, parameters)}) IS NOT TRUE" for c in tree.must_not]
    return f"({' AND '.join(parts)})" if parts else "true"


def _condition(condition: Condition, collection: Collection, parameters: Parameters) -> str:
    match condition:
        case Filter():
            return _filter(condition, collection, parameters)
        case ItemIdIn():
            return f"item_id = ANY ({parameters.add(list(condition.item_ids))}::text[])"
        case Exists():
            return _exists(condition.attribute, collection)
        case MatchAny():
            return _match(condition, collection, parameters)
        case Range():
            return _range(condition, collection, parameters)


def _exists(name: str, collection: Collection) -> str:
    if name in BUILTIN_ATTRIBUTES:
        return {"owner_id": "owner_id <> ''", "tags": "tags <> '{}'"}.get(name, f"{name} IS NOT NULL")
    present = f"attributes ? '{name}'"
    if collection.attribute_type(name) is AttributeType.KEYWORD_LIST:
        return f"({present} AND attributes -> '{name}' <> '[]')"
    return present


def _match(condition: MatchAny, collection: Collection, parameters: Parameters) -> str:
    name = condition.attribute
    kind = collection.attribute_type(name) or AttributeType.KEYWORD
    values = [v.value for v in condition.values]
    if name in BUILTIN_ATTRIBUTES:
        if kind is AttributeType.KEYWORD_LIST:
            return f"{name} && {parameters.add(values)}::text[]"
        if kind is AttributeType.TIMESTAMP:
            moments = parameters.add([to_moment(int(v)) for v in values])
            return f"{name} = ANY ({moments}::timestamptz[])"
        sql = f"{name} = ANY ({parameters.add(values)}::{_CASTS[kind][1]}[])"
        return f"({sql} AND owner_id <> '')" if name == "owner_id" else sql
    if kind is AttributeType.KEYWORD_LIST:
        return f"{attribute_expression(name, kind)} ?| {parameters.add(values)}::text[]"
    return f"{attribute_expression(name, kind)} = ANY ({parameters.add(values)}::{_CASTS[kind][1]}[])"


def _range(condition: Range, collection: Collection, parameters: Parameters) -> str:
    name = condition.attribute
    kind = collection.attribute_type(name) or AttributeType.DOUBLE
    left = name if name in BUILTIN_ATTRIBUTES else attribute_expression(name, kind)
    parts = []
    for bound, value in condition.bounds():
        if name == "created_at":
            right = f"{parameters.add(to_moment(int(value.value)))}::timestamptz"
        else:
            right = f"{parameters.add(value.value)}::{_CASTS[kind][1]}"
        parts.append(f"{left} {_OPERATORS[bound]} {right}")
    return f"({' AND '.join(parts)})"
