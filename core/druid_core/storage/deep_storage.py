"""Segments in deep storage: Druid's paths, Druid's load specs."""

import os
import shutil
import uuid
import zipfile
from pathlib import Path
from typing import Any

from druid_core.errors import StorageError
from druid_core.instant import format_instant
from druid_core.segment import DataSegment
from druid_core.storage.object_store import ObjectStore

_INTERMEDIATE = "intermediate_pushes"


class DeepStorage:
    """
    Where published segments lie, for Historicals to load.

    A local folder gets the segment's files as they are (`druid.storage.zip=false`, Druid's default), clouds get an
    `index.zip`. Druid: LocalDataSegmentPusher, S3DataSegmentPusher, GoogleDataSegmentPusher, AzureDataSegmentPusher
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def from_url(cls, url: str) -> "DeepStorage":
        """See `ObjectStore.from_url`."""
        return cls(ObjectStore.from_url(url))

    @property
    def url(self) -> str:
        return self._store.url

    def push(self, folder: Path, segment: DataSegment) -> DataSegment:
        """
        Store the files of `folder` as `segment` and return it with its load spec.

        All or nothing: a segment whose push fails is not to be seen under its path. Pushing it again replaces it.
        `folder`'s parent takes the zip for a while. Raises StorageError, and StorageAway where another try may help.
        """
        load_spec = (
            self._push_local(folder, segment) if self._store.scheme == "file" else self._push_zip(folder, segment)
        )
        return segment.model_copy(update={"load_spec": load_spec})

    def fetch(self, load_spec: dict[str, Any], folder: Path) -> Path:
        """
        A segment's files here: the folder or zip that they are, or a zip fetched into `folder`.

        Raises StorageError when they lie somewhere else than in this storage, StorageAway where another try may help.
        """
        match load_spec:
            case {"type": "local", "path": str(path)} if self._store.scheme == "file":
                return self._below_base(Path(path))
            case (
                {"type": "s3_zip", "bucket": self._store.bucket, "key": str(key)}
                | {"type": "google", "bucket": self._store.bucket, "path": str(key)}
                | {"type": "azure", "containerName": self._store.bucket, "blobPath": str(key)}
            ) if self._store.scheme != "file" and self._has(key):
                archive = folder / "index.zip"
                try:
                    self._store.download(self._below_prefix(key), archive)
                except OSError as error:
                    raise StorageError(f"Cannot fetch [{key}] to [{folder}]: {error.strerror or error}") from error
                return archive
            case _:
                raise StorageError(f"loadSpec {load_spec} does not lie in the deep storage [{self._store.url}]")

    def delete(self, load_spec: dict[str, Any]) -> None:
        """
        Remove a segment's files. Calling twice is calling once.

        Raises StorageError when they lie somewhere else than in this storage.
        """
        match load_spec:
            case {"type": "local", "path": str(path)} if self._store.scheme == "file":
                self._delete_local(Path(path))
            case (
                {"type": "s3_zip", "bucket": self._store.bucket, "key": str(key)}
                | {"type": "google", "bucket": self._store.bucket, "path": str(key)}
                | {"type": "azure", "containerName": self._store.bucket, "blobPath": str(key)}
            ) if self._store.scheme != "file":
                self._delete_key(key)
            case {"type": "tombstone"}:
                pass  # a tombstone has no files
            case _:
                raise StorageError(f"loadSpec {load_spec} does not lie in the deep storage [{self._store.url}]")

    def _push_local(self, folder: Path, segment: DataSegment) -> dict[str, Any]:
        base = Path(self._store.prefix)
        target = base / segment_path(segment, hadoop_safe=False) / "index"
        intermediate = base / _INTERMEDIATE / str(uuid.uuid4())
        try:
            intermediate.mkdir(parents=True)
            # One by one, not by `copytree`: that goes on after a full disk and raises a list of all that it met.
            for file in sorted(folder.iterdir()):
                shutil.copy2(file, intermediate / file.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                shutil.rmtree(target)
            os.rename(intermediate, target)
        except OSError as error:
            raise StorageError(
                f"Cannot push segment [{segment.id}] to [{target}]: {error.strerror or error}"
            ) from error
        finally:
            shutil.rmtree(intermediate, ignore_errors=True)
        return {"type": "local", "path": f"{target}/"}

    def _push_zip(self, folder: Path, segment: DataSegment) -> dict[str, Any]:
        path = f"{segment_path(segment, hadoop_safe=self._store.scheme == 'az')}/index.zip"
        archive = folder.parent / f"{folder.name}.zip"
        try:
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
                for file in sorted(folder.iterdir()):
                    zipped.write(file, file.name)
            self._store.put(path, archive)
        except OSError as error:
            raise StorageError(f"Cannot zip segment [{segment.id}]: {error.strerror or error}") from error
        finally:
            archive.unlink(missing_ok=True)
        key = f"{self._store.prefix}/{path}".lstrip("/")
        match self._store.scheme:
            case "s3":
                return {"type": "s3_zip", "bucket": self._store.bucket, "key": key, "S3Schema": "s3n"}
            case "gs":
                return {"type": "google", "bucket": self._store.bucket, "path": key}
            case _:
                return {"type": "azure", "containerName": self._store.bucket, "blobPath": key}

    def _delete_local(self, path: Path) -> None:
        base = Path(self._store.prefix)
        self._below_base(path)
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            # Empty folders of partition, version and interval go too, as far as the datasource.
            for parent in list(path.resolve().parents)[:3]:
                if parent == base.resolve() or any(parent.iterdir()):
                    break
                parent.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"Cannot delete [{path}]: {error.strerror or error}") from error

    def _below_base(self, path: Path) -> Path:
        """The path itself. Raises StorageError for one that leads out of the storage's folder."""
        base = Path(self._store.prefix)
        if not path.resolve().is_relative_to(base.resolve()) or path.resolve() == base.resolve():
            raise StorageError(f"[{path}] does not lie below the deep storage [{base}]")
        return path

    def _has(self, key: str) -> bool:
        return not self._store.prefix or key.startswith(f"{self._store.prefix}/")

    def _below_prefix(self, key: str) -> str:
        return key.removeprefix(f"{self._store.prefix}/") if self._store.prefix else key

    def _delete_key(self, key: str) -> None:
        below = self._below_prefix(key)
        if below.endswith("/"):
            for stored in self._store.list(below):
                self._store.delete(stored.path)
        else:
            self._store.delete(below)


def segment_path(segment: DataSegment, *, hadoop_safe: bool) -> str:
    """
    `dataSource/start_end/version/partitionNum`; without colons where the storage dislikes them.

    Druid: DataSegmentPusher.getDefaultStorageDir
    """
    start, end, version = segment.interval.start, segment.interval.end, segment.version
    if hadoop_safe:
        start, end = (
            format_instant(ms).replace("-", "").replace(":", "")
            for ms in (segment.interval.start_ms, segment.interval.end_ms)
        )
        version = version.replace(":", "_")
    return f"{segment.data_source}/{start}_{end}/{version}/{segment.shard_spec.partition_num}"
