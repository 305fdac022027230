"""Whose faces the entries of a gallery are: names that change, groups without one, and what was corrected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mbv1_backbone.common.errors import InputError
from mbv1_backbone.retrieval import writes
from mbv1_backbone.retrieval.checks import check_ids, check_names, check_text
from mbv1_backbone.retrieval.records import Correction, Entry
from mbv1_backbone.retrieval.unnamed import (
    check_given_name,
    group_name,
    is_alone,
    is_group,
    is_unnamed,
    unnamed,
)
from mbv1_backbone.retrieval.writing import WritableGallery

__all__ = ['NamedGallery']


class NamedGallery(WritableGallery):
    """A gallery's names. Every method is one change: after an error nothing of it is there."""

    def rename(self, identity: str, new: str) -> int:
        """Give a person, or a group that ``cluster`` made, another name.

        Returns:
            How many entries the person has.

        Raises:
            InputError: If there is no such person, the new name is like an automatic one, or somebody has it:
                then ``merge_identities``.
        """
        check_given_name(new)
        with self._writing('rename'):
            entries = self._entries_of([identity])
            if new != identity and self._store.images_of([new]):
                raise InputError(
                    f'{self.folder}: there is a {new!r:.60} already: merge_identities '
                    '(mbv1 gallery merge-people) makes the two one'
                )
            self._name(entries, new)
            return len(entries)

    def merge_identities(self, identities: Sequence[str], into: str) -> int:
        """Make several names one person's. Groups that are merged stay together, however they are clustered.

        Args:
            identities: The names that go.
            into: The name that stays; it may be one of them, or new.

        Returns:
            How many entries have got the name.

        Raises:
            InputError: If one of the people is not there, or two of them are in one photograph.
        """
        names = [name for name in dict.fromkeys(check_names(identities)) if name != into]
        with self._writing('merge identities'):
            entries = self._entries_of(names)
            self._check_person(into, entries)
            self._name(entries, into)
            return len(entries)

    def not_this_person(self, ids: Iterable[int], identity: str | None = None) -> None:
        """Say that entries do not show the person, or are not of the group, whose name they have.

        That is remembered: the same face (file and box) is never again added under that name, nor clustered
        with that group, also not in a gallery that ``reembed`` makes of this one.

        Args:
            ids: The entries.
            identity: Whom they show. Without it those of a group that nobody has named are alone again, all
                others are removed.

        Raises:
            InputError: If there is no such entry, it has that very name, or none at all, or the person is
                beside it in the photograph.
        """
        wanted = list(dict.fromkeys(check_ids(ids)))
        with self._writing('correct'):
            if identity is not None:
                self._check_person(identity, wanted)
            names: dict[int, str | None] = {}
            for entry_id in wanted:
                entry = self.get(entry_id)
                if entry.identity == identity:
                    raise InputError(f'entry {entry_id} has the name {identity!r:.60} already')
                if identity is None and is_alone(entry.identity):
                    raise InputError(f'entry {entry_id} has no name and is in no group, so none is wrong')
                alone = unnamed(entry.sha256, entry.box) if is_group(entry.identity) else None
                names[entry_id] = alone if identity is None else identity
            writes.correct(self._store, names)
            self._changed()

    def split(self, ids: Iterable[int], identity: str | None = None) -> str:
        """Say that some entries of a person or group are another's, all of them the same one's.

        They get a name of their own. It is remembered that they belong together and not to the others.

        Args:
            ids: The entries.
            identity: Whom they show; without it they are a group that nobody has named.

        Returns:
            Their name.

        Raises:
            InputError: If there is no such entry, or they are not of one person, or all of that person's, or
                whom they show is beside one of them in the photograph.
        """
        wanted = sorted(set(check_ids(ids)))
        with self._writing('split'):
            entries = [self.get(entry_id) for entry_id in wanted]
            names = {entry.identity for entry in entries}
            if len(names) != 1:
                raise InputError(f'entries of one person are split, got {len(wanted)} of {len(names)} people')
            if len(entries) == self._store.images_of(names)[entries[0].identity]:
                raise InputError(f'these are all entries of {entries[0].identity!r:.60}: rename changes it')
            if identity is not None:
                self._check_person(identity, wanted)
            if identity in names:
                raise InputError(f'entry {wanted[0]} has the name {identity!r:.60} already')
            new = self._free_name(entries) if identity is None else identity
            writes.correct(self._store, dict.fromkeys(wanted, new))
            self._changed()
            return new

    def regroup(self, names: Mapping[int, str], former: Mapping[int, str] | None = None) -> int:
        """Give entries that nobody has named other automatic names, as clustering found them.

        Entries that have been named, corrected or removed meanwhile stay as they are.

        Args:
            names: By id.
            former: The names that they had when they were clustered, by id; None takes any automatic one.

        Returns:
            How many entries have got another name.

        Raises:
            InputError: If they are not automatic names by id.
        """
        if not isinstance(names, Mapping):
            raise InputError(f'names must be a dict of names by id, got {names!r:.60}')
        names = dict(zip(check_ids(names), check_names([*names.values()]), strict=True))
        if wrong := [name for name in names.values() if not is_unnamed(name)]:
            raise InputError(f'automatic names are given by clustering, got {wrong[0]!r:.60}')
        with self._writing('regroup'):
            there = self._store.some(np.array(sorted(names), np.int64))
            changed = [
                entry.id
                for entry, _ in there
                if is_unnamed(entry.identity)
                and entry.identity != names[entry.id]
                and (former is None or entry.identity == former.get(entry.id))
            ]
            if changed:
                writes.rewrite(self._store, changed, lambda entry: replace(entry, identity=names[entry.id]))
                self._changed()
            return len(changed)

    def corrections(self) -> list[Correction]:
        """All that ``not_this_person``, ``split`` and ``merge_identities`` were told."""
        return writes.corrections(self._store)

    def _entries_of(self, identities: Sequence[str]) -> list[int]:
        there = self._store.images_of(check_names(identities))
        if missing := [name for name in identities if name not in there]:
            raise InputError(f'{self.folder}: there is no {missing[0]!r:.60}')
        return self._store.select_ids(identities).tolist()

    def _name(self, ids: Sequence[int], identity: str) -> None:
        writes.name(self._store, ids, identity)
        self._changed()

    def _check_person(self, identity: str, ids: Sequence[int]) -> None:
        """Check that entries can be given the name of a person, or of a group that is there."""
        if not (is_group(check_text(identity, 'identity')) and self._store.images_of([identity])):
            check_given_name(identity)
        if beside := self._store.beside(ids, identity):
            one, other = (self.get(entry_id) for entry_id in beside)
            raise InputError(
                f'{one.file}: entries {one.id} ({one.identity:.60}) and {other.id} ({other.identity:.60}) '
                'are two faces of this photograph, so they are two people'
            )

    def _free_name(self, entries: Sequence[Entry]) -> str:
        """An automatic name, of a face or a group, that no group has or had when something was said of it."""
        if len(entries) == 1:
            return unnamed(entries[0].sha256, entries[0].box)
        taken = {*self._store.identities(), *(one.identity for one in self.corrections())}
        return group_name([(entry.sha256, entry.box) for entry in entries], taken)
