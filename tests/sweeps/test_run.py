"""Sweeps run, resume, survive failures, and use a Dask cluster that is there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from n6convert.cli import run
from n6convert.errors import OutputError, RecipeError, ToolError, UsageError
from n6convert.sweeps import sweep

AXES = {"seed": [0, 1], "calibration.samples": [2]}


def test_a_grid_runs_in_processes_and_a_second_run_does_nothing(toy, tmp_path):
    seen = []
    results = sweep("toy", AXES, tmp_path / "out", common={"weights": "seeded"}, workers=2)
    assert [r.error for r in results] == [None, None]
    assert all(r.milliseconds and r.activations for r in results)
    page = (tmp_path / "out" / "sweep.html").read_text()
    assert "seed 0" in page
    for link in re.findall(r'<a href="(.+?)">seed', page):
        assert (tmp_path / "out" / link).is_file()
    assert page.count('">seed') >= 2
    assert "http" not in page.replace("http://www.w3.org", "")
    again = sweep("toy", AXES, tmp_path / "out", common={"weights": "seeded"}, progress=lambda *args: seen.append(args))
    assert again == results
    assert seen == []


def test_without_a_cache_finished_points_run_again_under_their_names(toy, tmp_path):
    seen = []
    arguments = {"workers": 1, "progress": lambda *args: seen.append(args)}
    first = sweep("toy", {"seed": [0]}, tmp_path / "out", common={"weights": "seeded"}, **arguments)
    again = sweep("toy", {"seed": [0]}, tmp_path / "out", common={"weights": "seeded", "cache": False}, **arguments)
    assert len(seen) == 2 and again[0].key == first[0].key


def test_the_table_beside_the_page_is_not_written_over_somebody_elses(toy, tmp_path):
    sweep("toy", {"seed": [0]}, tmp_path, common={"weights": "seeded"}, workers=1)
    assert "interval_low" in (tmp_path / "sweep.csv").read_text()
    (tmp_path / "sweep.csv").write_text("mine")
    with pytest.raises(OutputError, match="in the way"):
        sweep("toy", {"seed": [0]}, tmp_path, common={"weights": "seeded"}, workers=1)


def test_the_command_names_the_best_within_limits(toy, tmp_path, capsys):
    words = ["sweep", "toy", "--weights", "seeded", "--set", "seed=0,1", "--samples", "2", "--workers", "1"]
    assert run([*words, "--target", "stm32n6570-dk@3.0", "--max-milliseconds", "1000", "-o", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "best under 1000 ms: seed" in said and "least SQNR, dB" in said
    reports = [json.loads(path.read_text()) for path in tmp_path.glob("*/report.json")]
    assert {(r["target"], r["recipe"]["calibration"]["samples"]) for r in reports} == {("stm32n6570-dk@3.0", 2)}


def test_a_changed_file_makes_its_points_run_again(toy, tmp_path):
    (toy / "w.bin").write_bytes(b"123")
    board = toy / "mine.yaml"
    board.write_text("extends: stm32n6570-dk\n")
    seen = []

    def again():
        seen.clear()
        arguments = {"common": {"weights": str(toy / "w.bin"), "target": f"{board}@4.0"}, "workers": 1}
        sweep("toy", {"seed": [0]}, tmp_path / "out", progress=lambda *args: seen.append(args), **arguments)
        return len(seen)

    assert [again(), again()] == [1, 0]
    (toy / "w.bin").write_bytes(b"1234")
    assert again() == 1
    board.write_text("extends: stm32n6570-dk\nflash_mb_s: 100\n")
    assert [again(), again()] == [1, 0]


def test_one_failure_does_not_stop_the_rest(toy, tmp_path):
    axes = {"acceptance.min_sqnr_db": [-100.0, 1000.0]}
    results = sweep("toy", axes, tmp_path / "out", common={"weights": "seeded"}, workers=1)
    assert results[0].error is None
    assert "min_sqnr_db" in str(results[1].error)
    assert "failed" in (tmp_path / "out" / "sweep.html").read_text()


def test_an_unknown_key_is_refused_before_anything_runs(toy, tmp_path):
    with pytest.raises(RecipeError):
        sweep("toy", {"calibration.sample": [1, 2]}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_recipe_brings_its_axes_and_the_caller_may_change_them(toy, tmp_path):
    (toy / "grid.yaml").write_text("model: toy\nweights: seeded\nsweep:\n  seed: [0, 1]\n  calibration.samples: [2]\n")
    results = sweep("grid.yaml", {"seed": [5]}, tmp_path / "out", workers=1)
    assert [(dict(r.settings), r.error) for r in results] == [({"seed": 5, "calibration.samples": 2}, None)]
    assert "grid: 1 point" in (tmp_path / "out" / "sweep.html").read_text()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_runs(toy, tmp_path, monkeypatch):
    (tmp_path / "out").write_text("in the way")
    monkeypatch.setattr("n6convert.sweeps.run.run_processes", lambda *args: pytest.fail("something ran"))
    with pytest.raises(OutputError, match="writing failed"):
        sweep("toy", AXES, tmp_path / "out", common={"weights": "seeded"})


def test_nothing_to_vary_is_refused(toy, tmp_path):
    with pytest.raises(UsageError, match="something to vary"):
        sweep("toy", None, tmp_path / "out")


def test_an_unreachable_scheduler_is_one_message(toy, tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(ToolError, match="scheduler"):
        sweep("toy", AXES, tmp_path / "out", common={"weights": "seeded"}, dask="tcp://127.0.0.1:9")


def test_a_dask_cluster_finishes_though_a_worker_is_killed(toy, tmp_path):
    pytest.importorskip("distributed")
    file = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1"]
    processes = [subprocess.Popen([*scheduler, "--no-dashboard", "--scheduler-file", str(file)], **quiet)]
    try:
        address = wait_for(file)
        processes += [subprocess.Popen([*worker, "--no-nanny", "--no-dashboard"], **quiet) for _ in range(2)]
        done = []

        def kill_one(*progress):
            done.append(progress)
            if len(done) == 1:
                processes[1].send_signal(signal.SIGKILL)

        axes = {"seed": [0, 1, 2, 3], "calibration.samples": [2]}
        results = sweep("toy", axes, tmp_path / "out", common={"weights": "seeded"}, dask=address, progress=kill_one)
    finally:
        for process in processes:
            process.kill()
    assert processes[1].wait(10) == -signal.SIGKILL
    assert [r.error for r in results] == [None] * 4


def wait_for(file):
    for _ in range(300):
        if file.exists() and file.stat().st_size:
            return json.loads(file.read_text())["address"]
        time.sleep(0.1)
    raise AssertionError("the scheduler did not start")


def test_a_crash_in_native_code_costs_one_point_only(toy, tmp_path):
    from n6convert.sweeps import workers
    from n6convert.sweeps.grid import expand

    points = expand("toy", {"seed": [0, 1]}, {"weights": "seeded", "output": str(tmp_path / "o"), "cache": CrashOnce()})
    results = list(workers.run_processes(points, 1))
    assert len(results) == 2
    assert all("killed" in str(r.error) for r in results)


class CrashOnce:
    """Kills the process that unpickles it, as native code does that runs out of memory."""

    def __reduce__(self):
        return (os.abort, ())


def test_workers_share_the_cores_and_take_points_far_apart():
    from concurrent.futures import as_completed

    from n6convert.sweeps import workers

    with workers._pool(2, 3) as pool:
        futures = [pool.submit(os.getenv, name) for name in ("N6CONVERT_THREADS", "OMP_NUM_THREADS")]
        assert {future.result() for future in as_completed(futures)} == {"3"}
    assert workers._apart([0, 1, 2, 3, 4], 2) == [0, 3, 1, 4, 2]
    assert workers._apart([0, 1], 5) == [0, 1]


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGKILL])
def test_a_sweep_that_is_stopped_ends_its_workers_and_goes_on_next_time(toy, tmp_path, blow):
    psutil = pytest.importorskip("psutil")
    grid = ["--set", "seed=0,1,2", "--set", "calibration.samples=2", "--set", "simplify.onnxsim=false"]
    command = [sys.executable, "-m", "n6convert", "sweep", "toy", *grid, "--weights", "seeded", "--workers", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    stopped = subprocess.Popen(command, env=os.environ | {"N6_TOY_SLEEP": "0.5"}, start_new_session=True, **quiet)
    points = toy / "build" / "sweep-toy" / "points"
    while not list(points.glob("*.json")):
        assert stopped.poll() is None
        time.sleep(0.1)
    workers = psutil.Process(stopped.pid).children(recursive=True)
    stopped.send_signal(blow)
    assert stopped.wait(20) == (130 if blow == signal.SIGINT else -signal.SIGKILL)
    assert psutil.wait_procs(workers, 20)[1] == []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "of 3: seed 0" not in done.stderr
    assert "3 of 3: seed" in done.stderr
