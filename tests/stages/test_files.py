import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from gtr_core.util.files import DiskFull, publish, read_json, write_json
from gtr_core.util.locks import exclusive


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_directory_is_published_whole(tmp_path: Path) -> None:
    with publish(tmp_path / "deep" / "final") as directory:
        (directory / "a.json").write_text("1")
        assert not (tmp_path / "deep" / "final").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["final"]
    assert (tmp_path / "deep" / "final" / "a.json").read_text() == "1"


@pytest.mark.parametrize("error", [ValueError("bug"), KeyboardInterrupt()])
def test_a_failed_block_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), publish(tmp_path / "final") as directory:
        (directory / "a").write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_not_replaced(tmp_path: Path) -> None:
    for _ in range(1):
        with publish(tmp_path / "final") as directory:
            (directory / "a").write_text("first")
    with pytest.raises(OSError, match="not empty"), publish(tmp_path / "final") as directory:
        (directory / "a").write_text("second")
    assert (tmp_path / "final" / "a").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_dead_publishers_leftover_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom gtr_core.util.files import publish\n"
        "with publish(Path(sys.argv[1])) as directory:\n"
        "    (directory / 'half').write_text('x')\n    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "dead")], check=False)
    assert [path for path in tmp_path.iterdir() if path.is_dir()], "the killed process left its temporary directory"
    with publish(tmp_path / "living") as living:
        with publish(tmp_path / "other"):
            pass
        assert living.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["living", "other"]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b"x" * 2**21),
        lambda path: save_file({"w": np.zeros(2**20)}, path),
        lambda path: np.save(path, np.zeros(2**20)),
    ],
    ids=["file", "safetensors", "numpy"],
)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(full_disk: Path, write: object) -> None:
    with (
        pytest.raises(DiskFull, match=r"no room to write .*final") as caught,
        publish(full_disk / "final") as directory,
    ):
        write(directory / "weights.npy")  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    assert list(full_disk.iterdir()) == []


def test_other_errors_of_the_system_are_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, publish(tmp_path / "final"):
        raise OSError(errno.EACCES, "Permission denied")
    assert not isinstance(caught.value, DiskFull)


def test_json_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [1.5, None]})
    with pytest.raises(TypeError):
        write_json(path, {"b": object()})
    assert read_json(path) == {"a": [1.5, None], "b": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_names_its_holder_and_goes_from_thread_to_thread(tmp_path: Path) -> None:
    path, told, order = tmp_path / "lock", [], []
    waiting = threading.Event()

    def second() -> None:
        def on_wait(holder: str) -> None:
            told.append(holder)
            waiting.set()

        with exclusive(path, on_wait):
            order.append("second")

    with exclusive(path):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert f"process {os.getpid()} on " in told[0]
    assert not path.exists()


def test_waiting_for_a_lock_can_be_refused(tmp_path: Path) -> None:
    def refuse(holder: str) -> None:
        raise RuntimeError(holder)

    with exclusive(tmp_path / "lock"):
        with pytest.raises(RuntimeError, match=f"process {os.getpid()}"), exclusive(tmp_path / "lock", refuse):
            pass
        with pytest.raises(RuntimeError), exclusive(tmp_path / "lock", refuse):
            pass


def test_children_do_not_inherit_a_lock(tmp_path: Path) -> None:
    script = "import os\nos.read(0, 1)"
    with exclusive(tmp_path / "lock"):
        child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
        read, write = os.pipe()
        forked = os.fork()
        if forked == 0:
            os.read(read, 1)
            os._exit(0)

    def refuse(holder: str) -> None:
        raise AssertionError(holder)

    with exclusive(tmp_path / "lock", refuse):
        pass
    os.write(write, b"x")
    os.waitpid(forked, 0)
    child.communicate(b"x")


def test_many_processes_are_alone_in_the_lock(tmp_path: Path) -> None:
    script = (
        "import json, sys\nfrom pathlib import Path\nfrom gtr_core.util.locks import exclusive\n"
        "counter = Path(sys.argv[1]) / 'counter'\n"
        "for _ in range(200):\n"
        "    with exclusive(Path(sys.argv[1]) / 'lock'):\n"
        "        counter.write_text(json.dumps(json.loads(counter.read_text()) + 1))\n"
    )
    (tmp_path / "counter").write_text("0")
    children = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(4)]
    assert [child.wait() for child in children] == [0, 0, 0, 0]
    assert json.loads((tmp_path / "counter").read_text()) == 800
