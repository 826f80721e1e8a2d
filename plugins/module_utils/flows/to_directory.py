# Copyright: the coldstore.ebs authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring files of one archive or several to a directory, all of them or a selection."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from ..common.errors import Asleep, ColdstoreError, Refused
from ..common.stop import after_a_stop
from ..engine import copy as engine
from ..engine.archives import opened
from ..engine.bucket.layouts import FoundArchive
from ..engine.bucket.objects import Store
from ..engine.selection import Selection
from ..engine.targets import directory as targets
from ..engine.targets.directory import DirectoryTarget
from .restored import Restored, of_directory
from .subject import ALL, Choice


@dataclass(frozen=True)
class Wanted:
    """What goes into the directory, and how. partition: a number, ALL, or ''. strip: how many leading parts of paths to leave out.

    owners: files get theirs. devices: device nodes are made, too. overwrite: what is there may be replaced.
    """

    directory: str
    partition: str
    selection: Selection
    strip: int = 0
    owners: bool = True
    devices: bool = False
    overwrite: bool = False

    def place(self, archive: FoundArchive) -> str:
        """Where an archive's files go: the directory, or, for ALL, a directory below it named after the partition's number."""
        if self.partition == ALL and archive.partition is not None:
            return os.path.join(self.directory, str(archive.partition))
        return self.directory


def matching(store: Store, choice: Choice, wanted: Wanted, settings: engine.Settings) -> Choice:
    """Of all partitions those that hold something of what is selected; nothing else needs to be read, nor thawed.

    Raises Refused if none does.
    """
    if wanted.partition != ALL or wanted.selection.everything:
        return choice
    holding, left_out, refusal = [], list(choice.left_out), None
    for each in choice.archives:
        try:
            survey(store, each, wanted, settings)
            holding.append(each)
        except Asleep:
            raise
        except Refused as error:
            refusal = error
            left_out.append({"partition": each.partition, "format": each.format, "reason": "it has nothing at these paths"})
    if refusal is not None and not holding:
        raise refusal
    return Choice(holding, left_out)


def survey(store: Store, found: FoundArchive, wanted: Wanted, settings: engine.Settings) -> Restored:
    """What a restore would amount to, according to the index; nothing is known about an archive without one."""
    with closing(opened(store, found, settings.threads, settings.spool)) as archive:
        if archive.in_order:
            return Restored()
        there = engine.survey(archive, wanted.selection, wanted.strip, wanted.devices)
        there.renamed.close()
        return Restored(archive.fetched, there.size, there.members)


def to_directory(store: Store, archives: list[FoundArchive], wanted: Wanted, settings: engine.Settings) -> Restored:
    """Restore to the directory, or, for ALL, each partition to the directory named after its number."""
    total = Restored()
    part = f"What was restored so far stays in {wanted.directory}, which is incomplete. Run again to complete it."
    with after_a_stop(part), _whole(wanted, archives) as overwrite:
        for each in archives:
            try:
                total.add(_fill(store, each, wanted, overwrite, settings))
            except ColdstoreError as error:
                raise error.at(partition=each.partition) from None
    return total


@contextmanager
def _whole(wanted: Wanted, archives: list[FoundArchive]) -> Iterator[bool]:
    """Several directories are complete together: one marker above them says that they are not yet. Yields whether to replace what
    is there. A single directory has its own marker."""
    if all(wanted.place(each) == wanted.directory for each in archives):
        yield wanted.overwrite
        return
    overwrite = targets.begin(wanted.directory, wanted.overwrite)
    yield overwrite
    os.unlink(os.path.join(os.fsencode(wanted.directory), targets.MARKER))


def _fill(store: Store, found: FoundArchive, wanted: Wanted, overwrite: bool, settings: engine.Settings) -> Restored:
    selection = wanted.selection
    with ExitStack() as held:
        archive = held.enter_context(closing(opened(store, found, settings.threads, settings.spool)))
        archive.load()
        renamed = cuts = None
        if not selection.everything and not archive.in_order:
            renamed = held.enter_context(closing(engine.survey(archive, selection).renamed))
            cuts = engine.stretches(archive, selection, renamed)
        target = DirectoryTarget(
            wanted.place(found),
            selection,
            renamed=renamed,
            cut=cuts is not None,
            strip=wanted.strip,
            owners=wanted.owners,
            devices=wanted.devices,
            overwrite=overwrite,
            spool=settings.spool,
        )
        held.enter_context(closing(target))
        engine.copy(archive, [target], settings.threads, store.stop, cuts)
        target.finish()
        return of_directory(target, archive.fetched)
