"""Runs many small jobs in forked processes, so that a crash or a hang costs one job and is reported
as such."""
import collections
import multiprocessing
import multiprocessing.connection as connection
import os
import time
import traceback

_fork = multiprocessing.get_context("fork")


class Died(Exception):
    """A job raised an exception, its process ended, or it was ended for taking too long."""


class _Worker:
    def __init__(self, work):
        self.pipe, child = _fork.Pipe()
        self.process = _fork.Process(target=_serve, args=(child, work), daemon=True)
        self.process.start()
        child.close()
        self.job = None
        self.deadline = 0.0

    def give(self, job, seconds):
        self.job = job
        self.deadline = time.monotonic() + seconds
        self.pipe.send(job)

    def take(self):
        """The result; or Died when there is none."""
        late = time.monotonic() >= self.deadline
        if not self.pipe.poll() and late:
            self.process.kill()
            self.process.join()
            return Died("ran too long")
        try:
            return self.pipe.recv()
        except EOFError:
            self.process.join()
            return Died(f"process ended with code {self.process.exitcode}")


def _serve(pipe, work):
    while (job := pipe.recv()) is not None:
        try:
            pipe.send(work(job))
        except Exception:
            pipe.send(Died(traceback.format_exc()))
    os._exit(0)


def run(work, count, processes=2, seconds=60):
    """Yields (job, work(job)) for the jobs 0 .. count - 1 as they end; the result may be a Died."""
    jobs = collections.deque(range(count))
    workers = [_Worker(work) for _ in range(min(processes, count))]
    for worker in workers:
        worker.give(jobs.popleft(), seconds)
    while workers:
        wait = max(0.0, min(worker.deadline for worker in workers) - time.monotonic())
        ready = connection.wait([worker.pipe for worker in workers], wait)
        now = time.monotonic()
        for worker in [w for w in workers if w.pipe in ready or w.deadline <= now]:
            result = worker.take()
            yield worker.job, result
            workers.remove(worker)
            if isinstance(result, Died) and jobs:
                worker = _Worker(work)
            if jobs:
                worker.give(jobs.popleft(), seconds)
                workers.append(worker)
            elif not isinstance(result, Died):
                worker.pipe.send(None)
