"""Files that are not as they were written: noticed, dropped, never served, built again."""

from __future__ import annotations

import errno
import logging
import shutil
from typing import TYPE_CHECKING

import pytest

from retrieval.domain.errors import FailedPreconditionError
from retrieval.domain.search import Source
from retrieval.faiss_cache import build, segment_files
from retrieval.faiss_cache.manifest import SegmentError
from retrieval.faiss_cache.segment_files import SegmentFolder, verified_manifest
from tests.caches import caught_up, until
from tests.faiss_cache.searching import ask, assert_right

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.catalogue import DataSet
    from tests.faiss_cache.conftest import Ground

FILES = ("coarse.faiss", "vectors.faiss", "columns.bin", "norms.bin", "manifest.json", "manifest.sha256")


def flip(position: float) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[int(position * (len(content) - 1))] ^= 0x10
        file.write_bytes(content)

    return change


def cut(keep: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(keep(file.read_bytes()))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "first byte": flip(0.0),
    "last byte": flip(1.0),
    "emptied": cut(lambda _: b""),
    "half": cut(lambda content: content[: len(content) // 2]),
    "a byte short": cut(lambda content: content[:-2]),
    "a byte more": cut(lambda content: content + b"x"),
    "removed": lambda file: file.unlink(),
    "not text": cut(lambda content: b"\xff" * len(content)),
}


async def folder_of(ground: Ground, data: DataSet, root: Path) -> SegmentFolder:
    version = (await ground.stores.collections.get(data.name)).active
    return SegmentFolder(root, await ground.adapter.changes.identity(), version.version_id)


@pytest.fixture(scope="module")
async def pristine(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[DataSet, Path]]:
    """A data set, and a folder with two generations of its segment."""
    data = await ground.load(300)
    root = tmp_path_factory.mktemp("pristine")
    for generation in (1, 2):
        assert (await ground.segment(data, root)).generation == generation
    yield data, root
    await ground.stores.collections.delete(data.name)


@pytest.fixture
def segments(pristine: tuple[DataSet, Path], tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(pristine[1], tmp_path / "segments")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_all_damage_is_noticed(
    ground: Ground, pristine: tuple[DataSet, Path], segments: Path, file: str, damage: Callable[[Path], object]
) -> None:
    folder = await folder_of(ground, pristine[0], segments)
    assert {p.name for p in folder.at(2).iterdir()} == set(FILES)
    assert verified_manifest(folder.at(2)).generation == 2
    damage(folder.at(2) / file)
    with pytest.raises(SegmentError):
        verified_manifest(folder.at(2))


@pytest.mark.parametrize("file", FILES)
async def test_flips_anywhere_are_noticed(
    ground: Ground, pristine: tuple[DataSet, Path], segments: Path, file: str
) -> None:
    folder = await folder_of(ground, pristine[0], segments)
    victim = folder.at(2) / file
    content = victim.read_bytes()
    for position in range(0, len(content), max(1, len(content) // 40)):
        flip(position / max(1, len(content) - 1))(victim)
        with pytest.raises(SegmentError):
            verified_manifest(folder.at(2))
        victim.write_bytes(content)
    assert verified_manifest(folder.at(2)).generation == 2


@pytest.mark.parametrize("file", FILES)
async def test_files_of_another_generation_are_noticed(
    ground: Ground, pristine: tuple[DataSet, Path], segments: Path, file: str
) -> None:
    await ground.segment(pristine[0], segments)  # its rows stand in another order
    folder = await folder_of(ground, pristine[0], segments)
    content = (folder.at(3) / file).read_bytes()
    if content != (folder.at(2) / file).read_bytes():
        shutil.copy(folder.at(3) / file, folder.at(2) / file)
        with pytest.raises(SegmentError):
            verified_manifest(folder.at(2))


@pytest.mark.parametrize(("file", "damage"), list(zip(FILES, list(DAMAGES)[: len(FILES)], strict=True)))
async def test_the_generation_before_answers_until_a_new_one_is_built(
    ground: Ground,
    pristine: tuple[DataSet, Path],
    segments: Path,
    caplog: pytest.LogCaptureFixture,
    file: str,
    damage: str,
) -> None:
    data, _ = pristine
    folder = await folder_of(ground, data, segments)
    DAMAGES[damage](folder.at(2) / file)
    with caplog.at_level(logging.WARNING, "retrieval.cache"):
        async with ground.cached(segments, building=False) as cached:
            assert (await caught_up(cached.stores, data.name)).generation == 1
            assert "damaged" in caplog.text
            assert folder.generations() == [1]
            await assert_right(cached, data)
            cached.build.gate.set()
            report = await caught_up(cached.stores, data.name, 2)
            assert report.delta_rows == 0
            assert verified_manifest(folder.at(2)).rows == len(data.items)
            await assert_right(cached, data)


async def test_postgres_answers_where_no_generation_is_left(
    ground: Ground, pristine: tuple[DataSet, Path], segments: Path
) -> None:
    data, _ = pristine
    folder = await folder_of(ground, data, segments)
    for generation in (1, 2):
        flip(0.5)(folder.at(generation) / "vectors.faiss")
    # Too many rows to be followed without a segment.
    async with ground.cached(segments, building=False, cache_delta_rows=10) as cached:
        assert folder.generations() == []
        await assert_right(cached, data, source=Source.EXACT)
        with pytest.raises(FailedPreconditionError) as caught:
            await ask(cached.stores, data, source=Source.FAISS)
        assert caught.value.reason == "INDEX_NOT_READY"
        cached.build.gate.set()
        await caught_up(cached.stores, data.name, 1)
        await assert_right(cached, data)


@pytest.mark.parametrize("stranger", ["version", "database", "generation"])
async def test_a_whole_segment_of_something_else_is_dropped(
    ground: Ground, pristine: tuple[DataSet, Path], segments: Path, data: DataSet, stranger: str
) -> None:
    known, _ = pristine
    folder = await folder_of(ground, data, segments)
    foreign = (await folder_of(ground, known, segments)).at(2)
    if stranger == "database":
        await ground.segment(data, segments)
        own = shutil.copytree(folder.at(1), segments / "elsewhere")
        manifest = (own / "manifest.json").read_text()
        (own / "manifest.json").write_text(manifest.replace(await ground.adapter.changes.identity(), "other"))
        (own / "manifest.sha256").write_text(segment_files._sha256(own / "manifest.json") + "\n")
        foreign = own
        folder.drop(1)
    elif stranger == "generation":
        await ground.segment(data, segments)
        foreign = folder.at(1)
    shutil.copytree(foreign, folder.at(7))
    assert verified_manifest(folder.at(7))
    async with ground.cached(segments, building=False) as cached:
        report = await caught_up(cached.stores, data.name)
        assert report.generation == int(stranger == "generation")
        assert 7 not in folder.generations()
        await assert_right(cached, data)


async def test_what_a_killed_writer_left_goes_with_the_next_segment(
    ground: Ground, pristine: tuple[DataSet, Path], segments: Path
) -> None:
    data, _ = pristine
    folder = await folder_of(ground, data, segments)
    left = folder.path / ".writing-killed"
    shutil.copytree(folder.at(2), left)
    (left / "manifest.json").unlink()
    async with ground.cached(segments) as cached:
        assert (await caught_up(cached.stores, data.name)).generation == 2
        cached.stores.cache.prewarm((await ground.stores.collections.get(data.name)).active)
        await caught_up(cached.stores, data.name, 3)
        assert sorted(p.name for p in folder.path.iterdir()) == ["2", "3"]
        await assert_right(cached, data)


@pytest.mark.parametrize("where", ["index", "sync", "manifest"])
async def test_a_full_disk(
    ground: Ground,
    pristine: tuple[DataSet, Path],
    segments: Path,
    patch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    where: str,
) -> None:
    data, _ = pristine
    folder = await folder_of(ground, data, segments)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    patched, name = {
        "index": (build, "write_index"),
        "sync": (segment_files, "_sync"),
        "manifest": (build.Manifest, "write"),
    }[where]
    patch.setattr(patched, name, full)
    async with ground.cached(segments) as cached:
        await caught_up(cached.stores, data.name, 2)
        with caplog.at_level(logging.WARNING, "retrieval.cache"):
            cached.stores.cache.prewarm((await ground.stores.collections.get(data.name)).active)
            await until(lambda: "No space left" in caplog.text, "the failure in the log")
        await until(lambda: sorted(p.name for p in folder.path.iterdir()) == ["1", "2"], "an end of the attempt")
        assert (await caught_up(cached.stores, data.name)).generation == 2
        await assert_right(cached, data)
        patch.undo()
        await caught_up(cached.stores, data.name, 3)
        await assert_right(cached, data)


async def test_the_folder_goes_while_it_is_served(
    ground: Ground, pristine: tuple[DataSet, Path], segments: Path
) -> None:
    data, _ = pristine
    folder = await folder_of(ground, data, segments)
    async with ground.cached(segments, building=False) as cached:
        await caught_up(cached.stores, data.name, 2)
        shutil.rmtree(segments)
        await assert_right(cached, data)
        cached.build.gate.set()
        await until(folder.generations, "a new segment")
        await assert_right(cached, data)
    async with ground.cached(segments, building=False) as cached:
        assert (await caught_up(cached.stores, data.name)).generation >= 1
        await assert_right(cached, data)
