"""Filter trees over typed attributes: their shape, their check against a schema, their meaning.

`matches` is the definition; adapters compile the same tree to SQL or to column scans and must agree with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.domain.errors import InvalidArgumentError
from retrieval.domain.model import AttributeType, AttributeValue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retrieval.domain.model import Collection, Item

MAX_CONDITIONS = 64
MAX_DEPTH = 8
RANGE_TYPES = frozenset({AttributeType.INT64, AttributeType.DOUBLE, AttributeType.TIMESTAMP})

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class TypedValue:
    """A value with the type the caller gave it; `value` is a scalar (lists are matched by their members)."""

    type: AttributeType
    value: Scalar


@dataclass(frozen=True, slots=True)
class MatchAny:
    """The attribute equals one of the values; a keyword list shares at least one."""

    attribute: str
    values: tuple[TypedValue, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds on an int64, double or timestamp attribute; None is open."""

    attribute: str
    gt: TypedValue | None = None
    gte: TypedValue | None = None
    lt: TypedValue | None = None
    lte: TypedValue | None = None

    def bounds(self) -> Iterator[tuple[str, TypedValue]]:
        """The bounds that are given, by name."""
        for name in ("gt", "gte", "lt", "lte"):
            bound = getattr(self, name)
            if bound is not None:
                yield name, bound


@dataclass(frozen=True, slots=True)
class Exists:
    """The attribute is present; a keyword list is present and not empty."""

    attribute: str


@dataclass(frozen=True, slots=True)
class ItemIdIn:
    """The item is one of these."""

    item_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """All of `must`, at least one of `should` (where there is any), none of `must_not`."""

    must: tuple[Condition, ...] = ()
    should: tuple[Condition, ...] = ()
    must_not: tuple[Condition, ...] = ()

    def clauses(self) -> Iterator[tuple[str, Condition]]:
        """Every direct condition with its path below the filter."""
        for name in ("must", "should", "must_not"):
            for number, condition in enumerate(getattr(self, name)):
                yield f"{name}[{number}]", condition

    @property
    def empty(self) -> bool:
        """Whether every item passes."""
        return not (self.must or self.should or self.must_not)


Condition = MatchAny | Range | Exists | ItemIdIn | Filter

_FIELD = {MatchAny: "match", Range: "range", Exists: "exists", ItemIdIn: "item_ids", Filter: "filter"}


def check_filter(tree: Filter, collection: Collection, path: str = "filter") -> None:
    """Refuse a tree that the collection's schema gives no meaning.

    Raises: InvalidArgumentError (UNDECLARED_ATTRIBUTE, ATTRIBUTE_TYPE_MISMATCH, FILTER_TOO_LARGE) naming the field.
    """
    budget = [MAX_CONDITIONS]
    _check(tree, collection, path, 1, budget)


def _check(tree: Filter, collection: Collection, path: str, depth: int, budget: list[int]) -> None:
    if depth > MAX_DEPTH:
        raise InvalidArgumentError.of(path, f"nests deeper than {MAX_DEPTH} levels", reason="FILTER_TOO_LARGE")
    for step, condition in tree.clauses():
        where = f"{path}.{step}.{_FIELD[type(condition)]}"
        budget[0] -= 1
        if budget[0] < 0:
            raise InvalidArgumentError.of(
                where, f"is beyond the {MAX_CONDITIONS} conditions a filter may have", reason="FILTER_TOO_LARGE"
            )
        match condition:
            case Filter():
                _check(condition, collection, where, depth + 1, budget)
            case MatchAny():
                expected = _declared(condition.attribute, collection, where)
                if expected is AttributeType.KEYWORD_LIST:
                    expected = AttributeType.KEYWORD
                if all(value.type is expected for value in condition.values):
                    continue  # paths are made for wrong values alone: there may be a thousand
                for number, value in enumerate(condition.values):
                    _typed(value, expected, condition.attribute, f"{where}.values[{number}]")
            case Range():
                expected = _declared(condition.attribute, collection, where)
                if expected not in RANGE_TYPES:
                    raise InvalidArgumentError.of(
                        f"{where}.attribute",
                        f"{condition.attribute!r} is a {expected.value}; ranges apply to int64, double and timestamp",
                        reason="ATTRIBUTE_TYPE_MISMATCH",
                    )
                for name, bound in condition.bounds():
                    _typed(bound, expected, condition.attribute, f"{where}.{name}")
            case Exists():
                _declared(condition.attribute, collection, where)
            case ItemIdIn():
                pass


def _declared(name: str, collection: Collection, where: str) -> AttributeType:
    found = collection.attribute_type(name)
    if found is None:
        known = ", ".join(sorted(collection.attributes)) or "none"
        raise InvalidArgumentError.of(
            f"{where}.attribute",
            f"{name!r} is not declared by collection {collection.name!r} (declared: {known})",
            reason="UNDECLARED_ATTRIBUTE",
        )
    return found


def _typed(value: TypedValue, expected: AttributeType, attribute: str, where: str) -> None:
    if value.type is not expected:
        raise InvalidArgumentError.of(
            where,
            f"is a {value.type.value}, but {attribute!r} takes {expected.value}",
            reason="ATTRIBUTE_TYPE_MISMATCH",
        )


def matches(tree: Filter, item: Item) -> bool:
    """Whether `item` satisfies `tree`. A missing attribute satisfies no condition."""
    return (
        all(_holds(c, item) for c in tree.must)
        and (not tree.should or any(_holds(c, item) for c in tree.should))
        and not any(_holds(c, item) for c in tree.must_not)
    )


def _holds(condition: Condition, item: Item) -> bool:
    match condition:
        case Filter():
            return matches(condition, item)
        case ItemIdIn():
            return item.item_id in condition.item_ids
        case Exists():
            return attribute_of(item, condition.attribute) not in (None, ())
        case MatchAny():
            found = attribute_of(item, condition.attribute)
            wanted = {v.value for v in condition.values}
            if isinstance(found, tuple):
                return not wanted.isdisjoint(found)
            return found is not None and found in wanted
        case Range():
            found = attribute_of(item, condition.attribute)
            return isinstance(found, (int, float)) and all(_within(found, n, b.value) for n, b in condition.bounds())


def _within(found: float, name: str, bound: Scalar) -> bool:
    if not isinstance(bound, (int, float)):
        return False
    return {"gt": found > bound, "gte": found >= bound, "lt": found < bound, "lte": found <= bound}[name]


def attribute_of(item: Item, name: str) -> AttributeValue | None:
    """Value of a built-in or declared attribute of `item`; None where it is missing."""
    match name:
        case "item_id":
            return item.item_id
        case "owner_id":
            return item.owner_id or None
        case "status":
            return item.status.value
        case "tags":
            return item.tags
        case "rating_value":
            return item.rating_value
        case "rating_count":
            return item.rating_count
        case "created_at":
            return item.created_at
        case _:
            return item.attributes.get(name)
