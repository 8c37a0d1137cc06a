"""Small videos of coloured rectangles that walk, with a detector and a model that know them by their colours."""

import cv2
import numpy as np

from reid.networks import Origin
from reid.video.track import Box

SIZE, FPS = (320, 240), 20  # width, height
COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}


def write_video(path, boxes, count, fps=FPS, size=SIZE):
    """``boxes(number)`` gives the frame's [(colour, (left, top, right, bottom))]."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), fps, size)
    assert writer.isOpened()
    for number in range(count):
        image = np.zeros((size[1], size[0], 3), np.uint8)
        for colour, (left, top, right, bottom) in boxes(number):
            image[top:bottom, left:right] = COLOURS[colour]
        writer.write(image[..., ::-1])
    writer.release()
    return path


class ColourDetector:
    """The box of each colour's pixels, as sure as ``confidence``."""

    def __init__(self, confidence=0.9):
        self.confidence = confidence

    def detect(self, frame):
        boxes = []
        for colour in COLOURS.values():
            rows, columns = np.nonzero(np.abs(frame.astype(np.int16) - colour).max(axis=2) < 60)
            if len(rows):
                corners = map(float, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
                boxes.append(Box(*corners, self.confidence))
        return boxes

    def describe(self):
        return "colours"


class ColourModel:
    """The mean colour as the feature; keeps the shapes of the crops that it was given, a list a call."""

    origin = Origin("colours", 3, "none", "none")

    def __init__(self):
        self.calls = []

    def embed(self, images):
        self.calls.append([image.shape for image in images])
        return np.array([image.mean(axis=(0, 1)) for image in images], np.float32)
