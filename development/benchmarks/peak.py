"""How long something takes, and how much memory it adds."""

import threading
import time

import psutil
import torch


class Peak:
    """Time and additional peak memory of a block: of the device, or of this process where there is none."""

    def __enter__(self) -> "Peak":
        self._cuda = torch.cuda.is_available()
        self._running = True
        if self._cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
        else:
            self._before = self._highest = psutil.Process().memory_info().rss
            self._thread = threading.Thread(target=self._watch)
            self._thread.start()
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        if self._cuda:
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self._started
        self._running = False
        if self._cuda:
            self._highest = torch.cuda.max_memory_allocated()
        else:
            self._thread.join()
        self.memory = self._highest - self._before

    def _watch(self) -> None:
        process = psutil.Process()
        while self._running:
            self._highest = max(self._highest, process.memory_info().rss)
            time.sleep(0.005)
