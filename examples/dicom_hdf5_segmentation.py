"""A U-Net on DICOM slices and an HDF5 volume of labels, read by tensorflow-io.

    python examples/dicom_hdf5_segmentation.py

The files are written first, as a hospital might hand them over: the brain template that comes with
the nilearn package as one DICOM file per axial slice (pydicom), and the tissue of each pixel, grey
or white matter or neither, as one HDF5 volume (h5py). From then on only the files count:
`tfio.image.decode_dicom_image` decodes the slices, `tfio.IODataset.from_hdf5` streams the labels,
and both go into `model.fit`, with Dice plus cross-entropy as the loss.

tensorflow-io's last release, 0.37.1, loads with TensorFlow 2.16 and 2.17; with a newer one pydicom
and h5py read the same files. It needs `pip install '.[demo,io]' 'tensorflow-cpu==2.17.*'`, or
`pip install '.[cpu,demo]' pydicom` without tensorflow-io.
"""

import os
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console

# A T1 image is of 12 bits.
BRIGHTEST = 4095


class Reader(str, Enum):
    """What reads the files."""

    TENSORFLOW_IO = "tensorflow-io"
    H5PY = "h5py"


class Files(NamedTuple):
    """Slices with their labels on disk."""

    slices: list[str]
    volume: str


def write_slice(path: Path, image: np.ndarray, number: int) -> None:
    """Writes one slice as a DICOM file of 16-bit pixels."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    slice_ = Dataset()
    slice_.file_meta = FileMetaDataset()
    slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_.file_meta.MediaStorageSOPClassUID = slice_.SOPClassUID = MRImageStorage
    uid = generate_uid(entropy_srcs=[path.parent.name, str(number)])
    slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID = uid
    slice_.Modality = "MR"
    slice_.PatientName = "ICBM^152"
    slice_.InstanceNumber = number
    slice_.PixelSpacing = [2, 2]
    slice_.SliceThickness = 1
    pixels = np.round(image * BRIGHTEST).astype(np.uint16)
    slice_.set_pixel_data(pixels, "MONOCHROME2", bits_stored=12)
    slice_.save_as(path, enforce_file_format=True)


def write_files(folder: Path, images: np.ndarray, labels: np.ndarray) -> Files:
    """Writes a DICOM file for each image, and one HDF5 file with the labels of all."""
    import h5py

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"slice{number:03d}.dcm" for number in range(len(images))]
    for number, (path, image) in enumerate(zip(paths, images, strict=True)):
        write_slice(path, image[..., 0], number)
    volume = folder / "labels.h5"
    with h5py.File(volume, "w") as file:
        file.create_dataset("labels", data=labels)
    return Files(list(map(str, paths)), str(volume))


def why_not_tensorflow_io(files: Files) -> str:
    """Why tensorflow-io cannot read the files here; empty if it can."""
    import tensorflow as tf

    release = tuple(map(int, tf.__version__.split(".")[:2]))
    if release not in ((2, 16), (2, 17)):
        return (
            "tensorflow-io's last release loads with TensorFlow 2.16 and 2.17, and this is "
            f"{tf.__version__}"
        )
    try:
        import tensorflow_io as tfio
    except ImportError:
        return "tensorflow-io is not installed (pip install tensorflow-io)"
    try:
        # Its library is loaded when it is first used.
        tfio.image.decode_dicom_image(tf.io.read_file(files.slices[0]))
    except (ImportError, NotImplementedError, AttributeError) as error:
        return f"tensorflow-io does not load ({error})"
    return ""


def chosen(reader: Reader | None, files: Files, console: Console) -> Reader:
    """The reader that is asked for, or else the one that works here; says which."""
    reason = "" if reader is Reader.H5PY else why_not_tensorflow_io(files)
    if reason and reader is Reader.TENSORFLOW_IO:
        sys.exit(f"tensorflow-io cannot read them: {reason}.")
    if not reason and reader is not Reader.H5PY:
        console.print("tensorflow-io reads them.")
        return Reader.TENSORFLOW_IO
    console.print("pydicom and h5py read them" + (f", since {reason}." if reason else "."))
    return Reader.H5PY


def dataset_of(files: Files, reader: Reader) -> Any:
    """Pairs of an image, float32 in [0, 1], `(height, width, 1)`, and its labels, uint8."""
    import tensorflow as tf

    read = read_without_tensorflow_io if reader is Reader.H5PY else read_with_tensorflow_io
    # Neither knows how many there are before it has read them.
    return read(files).apply(tf.data.experimental.assert_cardinality(len(files.slices)))


def read_with_tensorflow_io(files: Files) -> Any:
    """The pairs, read by nothing but tensorflow-io."""
    import tensorflow as tf
    import tensorflow_io as tfio

    def decoded(path: Any) -> Any:
        # `(1, height, width, 1)`: a DICOM file may hold several frames.
        frames = tfio.image.decode_dicom_image(
            tf.io.read_file(path), color_dim=True, on_error="strict", dtype=tf.uint16
        )
        return tf.cast(frames[0], tf.float32) / BRIGHTEST

    images = tf.data.Dataset.from_tensor_slices(files.slices)
    images = images.map(decoded, num_parallel_calls=tf.data.AUTOTUNE)
    labels = tfio.IODataset.from_hdf5(files.volume, dataset="/labels")
    height, width = labels.element_spec.shape

    def shaped(image: Any, label: Any) -> Any:
        return tf.ensure_shape(image, (height, width, 1)), label

    return tf.data.Dataset.zip((images, labels)).map(shaped)


def read_without_tensorflow_io(files: Files) -> Any:
    """The same pairs, read by pydicom and h5py."""
    import h5py
    import tensorflow as tf
    from pydicom import dcmread

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        with h5py.File(files.volume) as file:
            for path, label in zip(files.slices, file["labels"], strict=True):
                pixels = dcmread(path).pixel_array
                yield pixels[..., np.newaxis].astype(np.float32) / np.float32(BRIGHTEST), label

    with h5py.File(files.volume) as file:
        _, height, width = file["labels"].shape
    image = tf.TensorSpec((height, width, 1), tf.float32)
    return tf.data.Dataset.from_generator(
        pairs, output_signature=(image, tf.TensorSpec((height, width), tf.uint8))
    )


def write_picture(path: Path, history: Any, loss: Any, labels: np.ndarray, logits: Any) -> None:
    """Draws the loss curves and the loss of each tissue on the slices held out."""
    from matplotlib.figure import Figure

    import fastloss as fl
    from fastloss.tools.demo.segmentation import CLASSES

    figure = Figure(figsize=(11.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    fl.plot.history(history, ax=left)
    fl.plot.per_class(loss, labels, logits, names=CLASSES, ax=right)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main(
    samples: Annotated[int, typer.Option(min=1, max=108, help="Slices to train on.")] = 108,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over them.")] = 6,
    batch_size: Annotated[int, typer.Option(min=1, help="Slices of a step.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights and the order.")] = 1,
    reader: Annotated[
        Reader | None,
        typer.Option(
            help="What reads the files.", show_default="tensorflow-io where it loads, else h5py"
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Keeps the files there.", show_default="a temporary one")
    ] = None,
    output: Annotated[Path, typer.Option(help="The picture.")] = Path("dicom.png"),
) -> None:
    """Trains a U-Net on DICOM slices and HDF5 labels."""
    # It must precede the import of TensorFlow.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    import fastloss as fl
    from fastloss.tools.demo.segmentation import CLASSES, dice_scores, load_slices, make_model
    from fastloss.tools.demo.training import Settings

    # A pipe has no width.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    with TemporaryDirectory() as temporary:
        root = folder or Path(temporary)
        splits = load_slices(Settings(epochs, batch_size, samples, seed))
        written, held_out = (
            write_files(root / name, split.images, split.labels)
            for name, split in zip(("training", "validation"), splits, strict=True)
        )
        console.print(
            f"Wrote {len(written.slices)} + {len(held_out.slices)} DICOM slices and 2 HDF5 volumes."
        )
        reader = chosen(reader, written, console)
        keras.utils.set_random_seed(seed)
        training = dataset_of(written, reader).shuffle(samples, seed).batch(batch_size).prefetch(2)
        validation = dataset_of(held_out, reader).batch(batch_size).cache()
        loss = fl.Dice(sparse=True, from_logits=True) + fl.SparseCategoricalCrossentropy(
            from_logits=True
        )
        model = make_model()
        model.compile(keras.optimizers.Adam(3e-3), loss, metrics=loss.metrics())
        start = perf_counter()
        history = model.fit(
            training, validation_data=validation, epochs=epochs, shuffle=False, verbose=0
        )
        seconds = perf_counter() - start
        logits = model.predict(validation, verbose=0)
        labels = np.concatenate([label for _, label in validation.as_numpy_iterator()])
    losses = history.history["val_loss"]
    console.print(
        f"{epochs} epoch{'s' * (epochs > 1)} of {samples} slices took {seconds:.0f} s. "
        f"Validation loss: {losses[0]:.4f} after the first, {losses[-1]:.4f} after the last."
    )
    scores = dice_scores(labels, np.argmax(logits, axis=-1))
    for tissue, score in zip(CLASSES[1:], scores, strict=True):
        console.print(f"Validation Dice score, {tissue}: {score:.4f}")
    write_picture(output, history, loss, labels, logits)
    console.print(f"Wrote {output}.", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
