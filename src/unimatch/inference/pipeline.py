"""Predicts many images: threads read and write files while the model computes.

On a GPU, images of one size are predicted in batches; on a CPU, small images are predicted in parallel.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from unimatch.disk import lacks_room
from unimatch.errors import WriteError
from unimatch.images.arrays import ImageArray
from unimatch.inference.inputs import Photo
from unimatch.inference.outputs import Row, Writer
from unimatch.inference.predictor import LARGE, Prediction, Predictor

PIXELS = 64_000_000
"""How many pixels the images between reading and writing may have together; reading waits while there are more."""


@dataclass
class Pipeline:
    """Reads photos, predicts them and writes the results.

    Args:
        threshold: pixels of lower confidence become 255; None for no threshold.
        votes: for several models: pixels on which fewer models agree become 255; None not to count votes.
        batch_size: images of one size that the model sees at once.
        threads: number of threads that read, and of those that write.
        progress: called with each image's name and, if it failed, the reason.
    """

    predictor: Predictor
    writer: Writer
    threshold: float | None = None
    batch_size: int = 1
    threads: int = 2
    progress: Callable[[str, str | None], None] = lambda name, reason: None
    votes: int | None = None
    failures: dict[str, str] = field(default_factory=dict)
    """The reasons why images failed, by the image's name."""

    def run(self, photos: Iterable[Photo]) -> None:
        """Predicts all photos. Those that fail are recorded in :attr:`failures`; only a full disk ends it."""
        self.waiting: dict[tuple[int, ...], list[tuple[Photo, ImageArray]]] = {}  # images to predict, by shape
        self.writing: dict[Future[Row], Photo] = {}  # photos that are being written, or predicted in parallel
        self.pixels: dict[str, int] = {}  # of each photo between reading and writing
        self.parallel = 1  # how many images are predicted in parallel, sharing the engine's threads
        engine = self.predictor.engine
        with (
            ThreadPoolExecutor(self.threads) as readers,
            ThreadPoolExecutor(self.threads) as self.writers,
            ThreadPoolExecutor(engine.threads) as self.models,
        ):
            for photo, image in self.read(readers, photos):
                group = self.waiting.setdefault(image.shape, [])
                group.append((photo, image))
                if len(group) == self.batch_size or self.predictor.inference.slides(*image.shape[-3:-1]):
                    self.predict(image.shape)
            self.flush()
        engine.use_threads(engine.threads)

    def read(self, readers: ThreadPoolExecutor, photos: Iterable[Photo]) -> Iterator[tuple[Photo, ImageArray]]:
        """Yields images in order, read ahead as far as memory allows."""
        ahead: deque[tuple[Photo, Future[ImageArray]]] = deque()
        for photo in photos:
            pixels = photo.pixels()
            while ahead and (len(ahead) > 2 * self.batch_size or self.must_wait(pixels)):
                yield from self.take(ahead)
            if self.must_wait(pixels):
                self.flush()
            self.pixels[photo.name] = pixels
            ahead.append((photo, readers.submit(photo.load)))
        while ahead:
            yield from self.take(ahead)

    def must_wait(self, pixels: int) -> bool:
        """Tells whether an image of that many pixels must wait for others to be written."""
        return bool(self.pixels) and sum(self.pixels.values()) + pixels > PIXELS

    def take(self, ahead: deque[tuple[Photo, Future[ImageArray]]]) -> Iterator[tuple[Photo, ImageArray]]:
        """Yields the next image, or nothing if it cannot be read."""
        photo, future = ahead.popleft()
        try:
            yield photo, future.result()
        except Exception as error:  # one bad file must not stop the others
            self.fail(photo, error)

    def predict(self, shape: tuple[int, ...]) -> None:
        """Predicts the waiting images of one size, and hands them to the writers."""
        group = self.waiting.pop(shape)
        parallel = self.parallel_for(shape)
        if parallel != self.parallel:
            self.finish(at_most=0)  # the running predictions share the threads in another way
            self.parallel = parallel
            self.predictor.engine.use_threads(self.predictor.engine.threads)
        if parallel > 1:
            for photo, image in group:
                self.writing[self.models.submit(self.predict_and_write, photo, image)] = photo
                self.finish(at_most=parallel)
            return
        try:
            predictions = self.predict_images([image for _, image in group])
        except Exception as error:  # such as too little memory for this size
            for photo, _ in group:
                self.fail(photo, error)
            return
        for (photo, image), prediction in zip(group, predictions, strict=True):
            job = (photo.name, image, prediction, photo.file, photo.path)
            self.writing[self.writers.submit(self.writer.write, *job)] = photo
        self.finish(at_most=4 * self.batch_size)

    def parallel_for(self, shape: tuple[int, ...]) -> int:
        """Returns how many images of that shape are predicted in parallel, each by a share of the processor's threads.

        Together they have at most as many pixels as the largest image that the model sees whole, so that they take no
        more memory than that image.
        """
        height, width = shape[-3:-1]
        if self.batch_size > 1 or self.predictor.inference.slides(height, width):
            return 1
        return max(1, min(self.predictor.engine.threads, LARGE // (height * width)))

    def predict_and_write(self, photo: Photo, image: ImageArray) -> Row:
        """Predicts and writes one image while other threads do the same with others."""
        engine = self.predictor.engine
        engine.use_threads(max(1, engine.threads // self.parallel))
        prediction = self.predict_images([image])[0]
        return self.writer.write(photo.name, image, prediction, photo.file, photo.path)

    def predict_images(self, images: list[ImageArray]) -> list[Prediction]:
        """Predicts images, with everything that the writer needs."""
        kinds = self.writer.kinds
        return self.predictor.predict_batch(
            images,
            confidence="confidence" in kinds,
            scores="scores" in kinds,
            threshold=self.threshold,
            votes=self.votes,
            disagreement="disagreement" in kinds,
            levels=True,
        )

    def finish(self, at_most: int) -> None:
        """Records which images have been written, and waits until at most ``at_most`` are still being written."""
        done, running = wait(self.writing, timeout=0)
        while len(running) > at_most:
            more, running = wait(running, return_when=FIRST_COMPLETED)
            done |= more
        for future in done:
            photo = self.writing.pop(future)
            try:
                self.writer.finish(future.result())
            except Exception as error:
                self.fail(photo, error)
            else:
                self.pixels.pop(photo.name)
                self.progress(photo.name, None)

    def flush(self) -> None:
        """Predicts and writes everything that is waiting."""
        for shape in list(self.waiting):
            self.predict(shape)
        self.finish(at_most=0)

    def fail(self, photo: Photo, error: Exception) -> None:
        """Records why an image failed; if the disk is full, raises the error, because all further images would fail."""
        if isinstance(error, WriteError) or lacks_room(error):
            raise error
        self.failures[photo.name] = str(error) or repr(error)
        self.pixels.pop(photo.name, None)
        self.progress(photo.name, self.failures[photo.name])
