"""A ConfigMap or Secret as the kubelet mounts it."""

import shutil
from collections.abc import Mapping
from pathlib import Path


class Volume:
    """A folder with these files, by name."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self._folder, self._version = folder, 0
        folder.mkdir()
        self.update(files)

    def update(self, files: Mapping[str, str]) -> None:
        """As the kubelet does it: a new folder, a link to it moved over `..data`, and a link for each name."""
        self._version += 1
        old, new = self._folder / f"..{self._version - 1}", self._folder / f"..{self._version}"
        new.mkdir()
        for name, text in files.items():
            (new / name).write_text(text)
        link = self._folder / "..data_tmp"
        link.symlink_to(new.name)
        link.replace(self._folder / "..data")
        for name in files:
            if not (self._folder / name).is_symlink():
                (self._folder / name).symlink_to(f"..data/{name}")
        for path in self._folder.iterdir():
            if not path.name.startswith("..") and path.name not in files:
                path.unlink()
        if self._version > 1:
            shutil.rmtree(old)
