"""Owners: the lock is there before the first row, and the dead are buried once."""

import threading
from pathlib import Path

from scribe_router.stores.sqlite_owners import Owner, bury, owners


def test_a_living_owner_is_not_buried(tmp_path: Path) -> None:
    folder = tmp_path / "owners"
    owner = Owner(folder)
    assert owners(folder) == {owner.id}
    assert not bury(folder, owner.id)
    assert owners(folder) == {owner.id}
    owner.release()


def test_a_released_owner_is_dead_and_gone(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    owner.release()
    owner.release()
    assert owners(tmp_path) == set()
    assert bury(tmp_path, owner.id)


def test_a_crashed_owner_leaves_a_file_that_is_buried(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    owner.close()
    assert owners(tmp_path) == {owner.id}
    assert bury(tmp_path, owner.id)
    assert bury(tmp_path, owner.id)
    assert owners(tmp_path) == set()


def test_nobody_lives_in_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert owners(tmp_path / "none") == set()


def test_no_file_is_left_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    owner = Owner(tmp_path)
    bury(tmp_path, owner.id)
    owner.release()
    bury(tmp_path, owner.id)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_sweep_in_the_middle_of_a_birth_harms_nobody(tmp_path: Path) -> None:
    born: list[Owner] = []
    done = threading.Event()

    def sweep() -> None:
        while not done.is_set():
            for owner in owners(tmp_path):
                bury(tmp_path, owner)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    while len(born) < 200:
        born.append(Owner(tmp_path))
    done.set()
    sweeper.join()

    assert {owner.id for owner in born} == owners(tmp_path)
    assert not any(bury(tmp_path, owner.id) for owner in born)
    for owner in born:
        owner.release()
