"""
A whole Druid on loopback, to ask and to race: ZooKeeper, Coordinator with its Overlord (metadata in Derby), one
MiddleManager whose peons are JVMs of their own. Only what ingestion needs; no Broker, no Historical.

Settings are Druid's own small quickstart in spirit: peons of 1 GiB heap, httpRemote runner, start delays shortened,
nothing else tuned in anybody's favour.
"""

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.druid.install import JAVA_FLAGS, DruidInstall
from tests.support.druid.processes import command_line, descendants, start, stop
from tests.support.ports import free_ports

MAIN = "org.apache.druid.cli.Main"
READY_WITHIN_S = 180
PEON_FLAGS = ("-Xms256m", "-Xmx1g", "-XX:MaxDirectMemorySize=512m", "-XX:+UseSerialGC")


class DruidCluster:
    """Context manager: started and ready for tasks inside, stopped after. Everything it writes is under `folder`."""

    def __init__(self, druid: DruidInstall, folder: Path, worker_capacity: int = 2) -> None:
        self._druid = druid
        self._folder = folder
        self._capacity = worker_capacity
        self._zookeeper, self._derby, self._overlord, self._worker, self._peons = free_ports(5)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = f"http://127.0.0.1:{self._overlord}"
        self.worker_url = f"http://127.0.0.1:{self._worker}"

    @property
    def overlord_pid(self) -> int:
        """The JVM of the Overlord (and of the Coordinator, which Druid runs together with it)."""
        return self._processes["coordinator"].pid

    @property
    def deep_storage(self) -> Path:
        return self._folder / "deep"

    def peon_pids(self) -> list[int]:
        """The peons that run now."""
        below = descendants(self._processes["middleManager"].pid)
        return [pid for pid in below if "internal peon" in command_line(pid)]

    def copy_finished_task(self, task_id: str, count: int) -> None:
        """Puts `count` copies of a finished task into the metadata store, under ids of their own."""
        self._copy(task_id, count)

    def copy_pending_task(self, task_id: str, count: int, sources: int) -> None:
        """
        Puts copies of an active task into the metadata store, of `sources` datasources in turn.

        The Overlord finds them when it compares its queue with the store: within a minute.
        """
        self._copy(task_id, count, sources)

    def _copy(self, task_id: str, count: int, *sources: int) -> None:
        url = f"jdbc:derby://127.0.0.1:{self._derby}/{self._folder}/derby/metadata.db"
        command = self._druid.command("dev.nemeton.peer.CopyTask", url, task_id, str(count), *map(str, sources))
        subprocess.run(command, check=True, timeout=600, cwd=self._folder / "tmp", capture_output=True)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Workers first. Calling it twice is calling it once. Peons end with their MiddleManager."""
        for name in reversed(list(self._processes)):
            stop(self._processes.pop(name))

    def _start(self) -> None:
        for name in ("log", "tmp", "zk", "derby", "deep", "tasklogs", "indexing"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        zoo = self._write("conf/zoo.cfg", _ZOO.format(folder=self._folder, port=self._zookeeper))
        self._write("conf/common/common.runtime.properties", self._common())
        self._run("zookeeper", ("-Xmx128m",), "org.apache.zookeeper.server.ZooKeeperServerMain", str(zoo))
        self._write("conf/coordinator/runtime.properties", _COORDINATOR.format(port=self._overlord))
        flags = ("-Xms256m", "-Xmx1g", "-XX:+UseSerialGC")
        self._run("coordinator", flags, MAIN, "server", "coordinator")
        self._wait("coordinator", "/druid/indexer/v1/isLeader", "true")
        self._write("conf/middleManager/runtime.properties", self._middle_manager())
        flags = ("-Xms64m", "-Xmx128m", "-XX:MaxDirectMemorySize=128m", "-XX:+UseSerialGC")
        self._run("middleManager", flags, MAIN, "server", "middleManager")
        self._wait("middleManager", "/druid/indexer/v1/workers", '"host"')

    def _run(self, name: str, flags: tuple[str, ...], *arguments: str) -> None:
        first = (self._folder / "conf" / "common", self._folder / "conf" / name)
        flags = (*flags, f"-Djava.io.tmpdir={self._folder / 'tmp'}")
        command = self._druid.command(*arguments, flags=flags, first=first)
        self._processes[name] = start(command, self._folder / "log" / f"{name}.log", self._folder)

    def _wait(self, name: str, path: str, sign: str) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._processes[name].poll() is not None:
                break
            try:
                with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                    if sign in answer.read().decode():
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.25)
        raise RuntimeError(f"Druid's {name} did not come up; see {self._folder / 'log' / name}.log")

    def _write(self, path: str, text: str) -> Path:
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def _common(self) -> str:
        return _COMMON.format(folder=self._folder, zookeeper=self._zookeeper, derby=self._derby)

    def _middle_manager(self) -> str:
        flags = [*JAVA_FLAGS, *PEON_FLAGS, f"-Djava.io.tmpdir={self._folder / 'tmp'}"]
        return _MIDDLE_MANAGER.format(
            folder=self._folder,
            port=self._worker,
            capacity=self._capacity,
            peons=self._peons,
            peon_flags=json.dumps(flags),
        )


_ZOO = """\
tickTime=2000
dataDir={folder}/zk
clientPort={port}
clientPortAddress=127.0.0.1
admin.enableServer=false
maxClientCnxns=0
"""

_COMMON = """\
druid.extensions.loadList=[]
druid.extensions.directory={folder}/extensions
druid.host=127.0.0.1
druid.bindOnHost=true
druid.zk.service.host=127.0.0.1:{zookeeper}
druid.metadata.storage.type=derby
druid.metadata.storage.connector.connectURI=jdbc:derby://127.0.0.1:{derby}/{folder}/derby/metadata.db;create=true
druid.metadata.storage.connector.host=127.0.0.1
druid.metadata.storage.connector.port={derby}
druid.storage.type=local
druid.storage.storageDirectory={folder}/deep
druid.indexer.logs.type=file
druid.indexer.logs.directory={folder}/tasklogs
druid.selectors.indexing.serviceName=druid/coordinator
druid.selectors.coordinator.serviceName=druid/coordinator
druid.monitoring.monitors=[]
druid.emitter=noop
druid.lookup.enableLookupSyncOnStartup=false
"""

_COORDINATOR = """\
druid.service=druid/coordinator
druid.plaintextPort={port}
druid.coordinator.startDelay=PT5S
druid.coordinator.period=PT5S
druid.coordinator.asOverlord.enabled=true
druid.coordinator.asOverlord.overlordService=druid/overlord
druid.indexer.queue.startDelay=PT2S
druid.indexer.runner.type=httpRemote
druid.indexer.storage.type=metadata
druid.indexer.storage.recentlyFinishedThreshold=PT24H
druid.manager.segments.useIncrementalCache=ifSynced
"""

_MIDDLE_MANAGER = """\
druid.service=druid/middleManager
druid.plaintextPort={port}
druid.worker.capacity={capacity}
druid.worker.baseTaskDirs=["{folder}/indexing"]
druid.indexer.runner.startPort={peons}
druid.indexer.runner.javaOptsArray={peon_flags}
druid.indexer.fork.property.druid.processing.numThreads=1
druid.indexer.fork.property.druid.processing.numMergeBuffers=2
druid.indexer.fork.property.druid.processing.buffer.sizeBytes=25000000
druid.server.http.numThreads=20
"""
