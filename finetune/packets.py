"""The mp4 member of a shard -> its compressed frames, kept as they are and decoded one by one when a row asks for one.

Kept apart from their container, frames need neither opening nor seeking: measured 2-3 times as fast as a seek into the
member, at a third of the memory of JPEG frames (docs/loader.md).
"""

import io
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import UInt8

LONGEST_RUN_FRAMES = 16
"""Members with more frames from key frame to key frame are better decoded once and kept as JPEG."""


class PacketError(ValueError):
    """A video member that cannot be taken apart or decoded; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedVideo:
    """Compressed frames in decoding order."""

    codec: str
    extradata: bytes
    """What the decoder must know before the first frame."""
    packets: tuple[bytes, ...]
    shown_at: tuple[int, ...]
    """Presentation time of each packet, in ticks."""
    key_packets: tuple[int, ...]
    """Positions of the packets that need no other."""
    order: tuple[int, ...]
    """Frame number -> position of its packet."""

    @property
    def num_frames(self) -> int:
        """Frames that can be read."""
        return len(self.order)

    @property
    def num_bytes(self) -> int:
        """Memory of the packets."""
        return sum(map(len, self.packets))

    @property
    def longest_run(self) -> int:
        """Most frames from a key frame to the next."""
        starts = [*self.key_packets, len(self.packets)]
        return max((b - a for a, b in pairwise(starts)), default=0)

    def only(self, keep: range) -> "PackedVideo":
        """The frames of these numbers; where frames need each other the others stay in memory."""
        if self.longest_run > 1:
            return replace(self, order=tuple(self.order[i] for i in keep))
        chosen = [self.order[i] for i in keep]
        rank = {position: i for i, position in enumerate(sorted(chosen))}
        return replace(
            self, packets=tuple(self.packets[p] for p in rank), shown_at=tuple(self.shown_at[p] for p in rank),
            key_packets=tuple(range(len(rank))), order=tuple(rank[p] for p in chosen),
        )  # fmt: skip

    def image(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        """One frame, RGB.

        Raises:
            PacketError: it cannot be decoded.
        """
        import av
        import av.error

        decoder, convert = _decoder(self.codec, self.extradata)
        position = self.order[index]
        wanted = self.shown_at[position]
        first = max((k for k in self.key_packets if k <= position and self.shown_at[k] <= wanted), default=0)
        # An independent frame comes out once the decoder is told that nothing follows; frames that need each other
        # may be reordered, so packets follow until the wanted one comes out.
        last = position + 1 if self.longest_run == 1 else len(self.packets)
        try:
            for data, time in [*zip(self.packets[first:last], self.shown_at[first:last], strict=True), (None, 0)]:
                packet = None
                if data is not None:
                    packet = av.Packet(data)
                    packet.pts = time
                for frame in decoder.decode(packet):
                    if frame.pts == wanted:
                        return convert.reformat(frame, format="rgb24", threads=1).to_ndarray()
        except av.error.FFmpegError as error:
            raise PacketError(f"frame {index} cannot be decoded ({error.strerror})") from error
        finally:
            decoder.flush_buffers()
        raise PacketError(f"frame {index} cannot be decoded")


@lru_cache(maxsize=64)
def _decoder(codec: str, extradata: bytes) -> tuple[Any, Any]:
    """A decoder and a converter for all clips of one encoder setting: setting up costs more than a frame."""
    import av
    from av.video.reformatter import VideoReformatter

    decoder: Any = av.CodecContext.create(codec, "r")
    decoder.extradata = extradata
    decoder.thread_type, decoder.thread_count = "NONE", 1
    return decoder, VideoReformatter()


def unpack(data: bytes) -> PackedVideo:
    """Take a member apart; nothing is decoded.

    Raises:
        PacketError: it is no video, or its frames have no times.
    """
    import av
    import av.error

    try:
        with av.open(io.BytesIO(data), mode="r") as container:
            if not container.streams.video:
                raise PacketError("it has no video stream")
            stream = container.streams.video[0]
            found = [packet for packet in container.demux(stream) if packet.size and not packet.is_discard]
            codec, extradata = stream.codec_context.name, bytes(stream.codec_context.extradata or b"")
            times = [packet.pts for packet in found]
            keys = tuple(i for i, packet in enumerate(found) if packet.is_keyframe)
            packets = tuple(bytes(packet) for packet in found)
    except av.error.FFmpegError as error:
        raise PacketError(f"it cannot be opened ({error.strerror})") from error
    shown_at = tuple(time for time in times if time is not None)
    if len(shown_at) < len(packets) or len(set(shown_at)) < len(packets) or keys[:1] != (0,):
        raise PacketError("its frames have no times of their own, or the first is no key frame")
    order = tuple(sorted(range(len(packets)), key=shown_at.__getitem__))
    return PackedVideo(
        codec=codec, extradata=extradata, packets=packets, shown_at=shown_at, key_packets=keys, order=order
    )
