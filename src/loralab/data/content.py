"""What a folder of pictures is, for keys: the data that a study names in, the hash of every name and byte out."""

from __future__ import annotations

import hashlib
from pathlib import Path

from loralab.data.dataset import folder_of, load_dataset_file
from loralab.errors import lab_error
from loralab.spec import FolderData
from loralab.spec.elsewhere import named_path


def folder_path(data: FolderData, study_folder: Path) -> Path:
    """Return the folder that a study names, relative to the study file."""
    return named_path(data.folder, study_folder).resolve()


def folder_sha256(folder: Path) -> str:
    """Return the hash of every file name and byte in ``folder``: an edited caption or image is another data set."""
    if not folder.is_dir():
        do = "check `folder:` in the study (relative to the study file)"
        raise lab_error("data", f"there is no folder at {folder}", "a folder of training images", do)
    digest = hashlib.sha256()
    for file in sorted((item for item in folder.rglob("*") if item.is_file()), key=lambda item: item.relative_to(folder).parts):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def sources_sha256(data: FolderData, study_folder: Path) -> str:
    """Return the hash of everything that a prepared data set is made from: its file, its folders, its masks."""
    path = (study_folder / data.folder).resolve()
    digest = hashlib.sha256()
    if data.is_file:
        subsets = load_dataset_file(path)
        digest.update(path.read_bytes())
        folders = [folder_of(path.parent, name) for subset in subsets for name in (subset.image_dir, subset.conditioning_data_dir) if name]
    else:
        folders = [path, *((study_folder / name).resolve() for name in (data.masks, data.regularisation) if name)]
    for folder in folders:
        digest.update(folder_sha256(folder).encode())
    return digest.hexdigest()
