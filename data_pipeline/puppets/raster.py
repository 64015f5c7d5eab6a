"""Posed triangles -> pixels: a z-buffer, then one shading pass per visible sample (numba, one thread).

Camera space: x right, y down, z inward, so a smaller z is nearer. Depth is compared as 1 / distance, which is linear
on the screen. The kernels carry no annotations: numba types them. Tables that the kernels read
(eyes, mouth, light) are laid out by the index constants below.
"""
# ruff: noqa: ANN001, ANN201, ANN202, PLR0913, SIM109, PLR0915, C901

import inspect
import math

import numpy as np
from numba import njit

HEAD, TEETH, TONGUE, BODY, PART, HAIR, LEATHER = range(7)
"""Materials of triangles: what is discarded, how light answers, which label a pixel gets."""

LABELS = np.array([2, 4, 4, 1, 2, 2, 2], np.uint8)
"""Material -> label of contract: 0 background, 1 body, 2 head, 3 eyes, 4 mouth."""

GLOSS = np.array(
    [
        [0.10, 3.0],
        [0.35, 5.0],
        [0.30, 4.0],
        [0.03, 3.0],
        [0.05, 3.0],
        [0.16, 4.0],
        [0.42, 4.0],
    ],
    np.float32,
)
"""Material -> specular strength, log2 of the exponent."""

# Columns of the eye table, one row per eye (own right first).
E_X, E_Y, E_Z, E_HALF, E_COS, E_SIN, E_INNER, E_UP, E_LOW, E_OPEN, E_RADIUS = range(11)
E_GAZE, E_IRIS, E_PUPIL_X, E_PUPIL_Y, E_INNER_RGB, E_OUTER_RGB, E_LASH, E_CREASE, E_WHITE_RGB, E_LINE_RGB = (
    11, 14, 15, 16, 17, 20, 23, 24, 25, 28,
)  # fmt: skip
EYE_COLUMNS = 32

# Entries of the mouth table.
M_XR, M_YR, M_XL, M_YL, M_Y, M_UP, M_LOW, M_THICK_UP, M_THICK_LOW, M_WAVE, M_BOW = range(11)
M_LIP_RGB, M_LINE_RGB, M_LINE, M_FRONT, M_NOSTRIL, M_PHILTRUM, M_HANGS = 11, 14, 17, 18, 19, 23, 26
MOUTH_COLUMNS = 28

# Entries of the light table: directions point towards the light.
L_KEY_DIR, L_KEY_RGB, L_SKY_RGB, L_GROUND_RGB, L_RIM_DIR, L_RIM_RGB, L_SKIN = 0, 3, 6, 9, 12, 15, 18
LIGHT_COLUMNS = 20


def _compiled(function):
    """Numba's compiler on the bare function: the tests' type-checking hook wraps every function of the package."""
    return njit(cache=True, fastmath=True, nogil=True)(inspect.unwrap(function))


@_compiled
def eye_chart(eye, x, y):
    """Head-local x, y -> eye chart u (-1 outer corner, 1 inner corner), v (down), in half widths."""
    dx = (x - eye[E_X]) * eye[E_INNER]
    dy = y - eye[E_Y]
    return (dx * eye[E_COS] + dy * eye[E_SIN]) / eye[E_HALF], (dy * eye[E_COS] - dx * eye[E_SIN]) / eye[E_HALF]


@_compiled
def lids(eye, u):
    """Chart heights of the upper and the lower lid edge at u; they meet when the eye is shut."""
    q = 1.0 - u * u
    if q <= 0.0:
        return 0.0, 0.0
    opened = eye[E_OPEN]
    meet = 0.7 * eye[E_LOW] * q
    upper = -eye[E_UP] * q**0.75 * (1.0 + 0.12 * u)
    lower = eye[E_LOW] * q * (0.7 + 0.3 * min(opened, 1.0))
    return meet + opened * (upper - meet), lower


@_compiled
def lips(mouth, x):
    """Head-local x -> t (-1 own right corner .. 1), y of the inner edges, thickness of the upper and lower lip."""
    t = (2.0 * x - mouth[M_XR] - mouth[M_XL]) / (mouth[M_XL] - mouth[M_XR])
    q = max(1.0 - t * t, 0.0)
    corner = mouth[M_YR] if t < 0 else mouth[M_YL]
    size = min(abs(t), 1.0)
    line = mouth[M_Y] + (corner - mouth[M_Y]) * t * t + mouth[M_WAVE] * 4.0 * size * (1.0 - size)
    bow = 1.0 + mouth[M_BOW] * (math.exp(-((size - 0.28) ** 2) * 30.0) - 0.6 * math.exp(-(size**2) * 60.0))
    upper = line - mouth[M_UP] * q
    lower = line + mouth[M_LOW] * q**0.6
    return t, upper, lower, mouth[M_THICK_UP] * q**0.7 * bow, mouth[M_THICK_LOW] * q**0.6


@_compiled
def in_eye(eye, x, y):
    """Whether head-local x, y of the front lies between the lids."""
    if abs(x - eye[E_X]) > eye[E_HALF] or abs(y - eye[E_Y]) > eye[E_HALF] * 1.3:
        return False
    u, v = eye_chart(eye, x, y)
    if abs(u) >= 1.0:
        return False
    upper, lower = lids(eye, u)
    return upper < v < lower


@_compiled
def in_mouth(mouth, x, y):
    """Whether head-local x, y of the front lies between the lips."""
    if x <= mouth[M_XR] or x >= mouth[M_XL] or y < mouth[M_Y] - 0.2 or y > mouth[M_Y] + mouth[M_LOW] + 0.2:
        return False
    _, upper, lower, _, _ = lips(mouth, x)
    return upper < y < lower


@_compiled
def rasterise(screen, triangles, materials, local, cover, mouth, depth, winner, inner):
    """Nearest triangle of each sample: fills `depth` (1 / distance, 0 = nothing) and `winner` (triangle or -1).

    The head's grid comes first. Between its lips it stays in `depth` but opens `inner` (-1 elsewhere): only there
    teeth and tongue are drawn, however deep they lie, so nothing pokes through shut lips.
    """
    height, width = depth.shape
    for n in range(triangles.shape[0]):
        i, j, k = triangles[n, 0], triangles[n, 1], triangles[n, 2]
        x0, y0, x1, y1, x2, y2 = screen[i, 0], screen[i, 1], screen[j, 0], screen[j, 1], screen[k, 0], screen[k, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        material = materials[n]
        if area == 0.0 or (material == HEAD and area < 0.0):
            continue
        left, right = max(math.ceil(min(x0, x1, x2)), 0), min(math.floor(max(x0, x1, x2)), width - 1)
        top, bottom = max(math.ceil(min(y0, y1, y2)), 0), min(math.floor(max(y0, y1, y2)), height - 1)
        if left > right or top > bottom:
            continue
        is_face = material == HEAD and local[i, 2] < mouth[M_FRONT]
        scale = 1.0 / area
        z0, z1, z2 = screen[i, 2], screen[j, 2], screen[k, 2]
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                a = ((x1 - column) * (y2 - row) - (x2 - column) * (y1 - row)) * scale
                b = ((x2 - column) * (y0 - row) - (x0 - column) * (y2 - row)) * scale
                c = 1.0 - a - b
                if a < 0.0 or b < 0.0 or c < 0.0:
                    continue
                z = a * z0 + b * z1 + c * z2
                if material == TEETH or material == TONGUE:
                    if inner[row, column] >= 0.0:
                        if z > inner[row, column]:
                            inner[row, column] = z
                            winner[row, column] = n
                        continue
                    if material == TEETH or mouth[M_HANGS] == 0.0 or mouth[M_LOW] < 0.08:
                        continue
                if z <= depth[row, column]:
                    continue
                if material == HAIR and a * cover[i] + b * cover[j] + c * cover[k] < 0.0:
                    continue
                depth[row, column] = z
                winner[row, column] = n
                inner[row, column] = -1.0
                if is_face:
                    x = a * local[i, 0] + b * local[j, 0] + c * local[k, 0]
                    y = a * local[i, 1] + b * local[j, 1] + c * local[k, 1]
                    if in_mouth(mouth, x, y):
                        inner[row, column] = 0.0


@_compiled
def _step(low, high, value):
    t = min(max((value - low) / (high - low), 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@_compiled
def _face_paint(eyes, mouth, x, y, rgb):
    """Paint lid edges, creases, lips, mouth line and nostrils over the coat; returns (label, tilt, gloss)."""
    for k in range(2):
        eye = eyes[k]
        if abs(x - eye[E_X]) > eye[E_HALF] * 1.6 or abs(y - eye[E_Y]) > eye[E_HALF] * 1.6:
            continue
        u, v = eye_chart(eye, x, y)
        if abs(u) < 1.06:
            upper, lower = lids(eye, min(max(u, -1.0), 1.0))
            over, under = upper - v, v - lower
            q = max(1.0 - u * u, 0.0)
            wide = eye[E_LASH] * (0.35 + 0.65 * _step(1.0, -0.6, u)) * (0.55 + 0.45 * q)
            line = 1.0 - _step(wide * 0.55, wide, over) if over >= 0.0 else 0.0
            thin = eye[E_LASH] * (0.16 + 0.34 * q)
            if over < 0.0 and under >= 0.0:
                line = 0.85 * (1.0 - _step(thin * 0.3, thin, under))
            line *= 1.0 - _step(1.0, 1.06, abs(u))
            gap = 0.16 + 0.18 * eye[E_OPEN]
            crease = math.exp(-(((over - gap * q**0.5) / 0.05) ** 2)) * eye[E_CREASE] * q
            for c in range(3):
                rgb[c] *= 1.0 - 0.45 * crease
                rgb[c] += (eye[E_LINE_RGB + c] - rgb[c]) * line
    if mouth[M_NOSTRIL + 2] > 0.0:
        dx = (abs(x) - mouth[M_NOSTRIL]) / mouth[M_NOSTRIL + 2]
        dy = (y - mouth[M_NOSTRIL + 1]) / mouth[M_NOSTRIL + 3]
        dark = 0.75 * math.exp(-((dx * dx + dy * dy) ** 2))
        rgb[0] *= 1.0 - dark * 0.85
        rgb[1] *= 1.0 - dark
        rgb[2] *= 1.0 - dark
    if mouth[M_PHILTRUM + 2] > 0.0 and mouth[M_PHILTRUM] < y < mouth[M_PHILTRUM + 1]:
        line = 0.8 * math.exp(-((x / mouth[M_PHILTRUM + 2]) ** 2))
        for c in range(3):
            rgb[c] += (mouth[M_LINE_RGB + c] - rgb[c]) * line
    if x < mouth[M_XR] - 0.06 or x > mouth[M_XL] + 0.06:
        return 2, 0.0, 0.0
    if y < mouth[M_Y] - 0.25 or y > mouth[M_Y] + mouth[M_LOW] + 0.3:
        return 2, 0.0, 0.0
    t, upper, lower, thick_up, thick_low = lips(mouth, x)
    label, tilt, gloss, on_lip = 2, 0.0, 0.0, 0.0
    fade = 1.0 - _step(0.96, 1.06, abs(t))
    if y <= upper and thick_up > 0.0 and y > upper - thick_up:
        s = (upper - y) / thick_up
        on_lip = fade * (1.0 - _step(0.8, 1.0, s))
        tilt, gloss, label = 0.45 * (0.35 - s), 0.10, 4
    elif y >= lower and thick_low > 0.0 and y < lower + thick_low:
        s = (y - lower) / thick_low
        on_lip = fade * (1.0 - _step(0.75, 1.0, s))
        tilt, gloss, label = 0.7 * (s - 0.35), 0.22, 4
    for c in range(3):
        rgb[c] += (mouth[M_LIP_RGB + c] - rgb[c]) * on_lip
    near = min(abs(y - upper), abs(y - lower))
    line = fade * (1.0 - _step(mouth[M_LINE] * 0.5, mouth[M_LINE] * 1.2, near))
    for c in range(3):
        rgb[c] += (mouth[M_LINE_RGB + c] - rgb[c]) * line * 0.9
    return label, tilt, gloss


@_compiled
def _eye_paint(eye, x, y, rgb):
    """Colour of the eyeball at head-local x, y: white, limbus, iris with spokes, pupil; shade under the lid.

    Returns the ball's normal, head-local.
    """
    # The ball as seen from the front of the head: the skin's own depth varies and would make the iris an egg.
    dx, dy = (x - eye[E_X]) / eye[E_RADIUS], (y - eye[E_Y]) / eye[E_RADIUS]
    dz = -math.sqrt(max(1.0 - dx * dx - dy * dy, 0.01))
    scale = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz)
    dx, dy, dz = dx * scale, dy * scale, dz * scale
    gx, gy, gz = eye[E_GAZE], eye[E_GAZE + 1], eye[E_GAZE + 2]
    facing = dx * gx + dy * gy + dz * gz
    level = 1.0 / math.sqrt(gx * gx + gz * gz)
    px = (-dx * gz + dz * gx) * level
    py = -dx * gx * gy * level + dy / level - dz * gz * gy * level
    r = math.sqrt(px * px + py * py) / eye[E_IRIS]
    if facing < 0.0:
        r = 9.0
    spokes = 0.88 + 0.12 * math.sin(math.atan2(py, px) * 17.0 + 3.0 * math.sin(r * 9.0))
    ring = 1.0 - 0.72 * _step(0.80, 0.99, r)
    lower_glow = 0.8 + 0.55 * _step(-0.2, 0.9, py / eye[E_IRIS])
    pupil = math.sqrt((px / eye[E_PUPIL_X]) ** 2 + (py / eye[E_PUPIL_Y]) ** 2)
    in_iris = 1.0 - _step(0.97, 1.05, r)
    for c in range(3):
        iris = eye[E_INNER_RGB + c] + (eye[E_OUTER_RGB + c] - eye[E_INNER_RGB + c]) * _step(0.3, 0.85, r)
        iris *= spokes * ring * lower_glow
        iris = 0.004 + (iris - 0.004) * _step(0.9, 1.06, pupil)
        rgb[c] = eye[E_WHITE_RGB + c] + (iris - eye[E_WHITE_RGB + c]) * in_iris
    u, v = eye_chart(eye, x, y)
    upper, lower = lids(eye, min(max(u, -0.999), 0.999))
    shade = 0.42 + 0.58 * _step(-0.02, 0.34, v - upper)
    shade *= 0.72 + 0.28 * _step(-0.02, 0.12, lower - v)
    shade *= 1.0 - 0.35 * _step(0.6, 1.0, abs(u))
    for c in range(3):
        rgb[c] *= shade
    return dx, dy, dz


@_compiled
def shade(screen, triangles, materials, local, cover, normals, colours, eyes, mouth, light, turn, winner,
          backdrop, labels_of, gloss_of, samples, labels):  # fmt: skip
    """Colour every sample (linear RGB) and name its label. `backdrop` has one pixel per `step` samples."""
    height, width = winner.shape
    step = height // backdrop.shape[0]
    rgb = np.zeros(3, np.float32)
    kx, ky, kz = light[0], light[1], light[2]
    hx, hy, hz = kx, ky, kz - 1.0
    scale = 1.0 / math.sqrt(hx * hx + hy * hy + hz * hz)
    hx, hy, hz = hx * scale, hy * scale, hz * scale
    for row in range(height):
        for column in range(width):
            n = winner[row, column]
            if n < 0:
                for c in range(3):
                    samples[row, column, c] = backdrop[row // step, column // step, c]
                labels[row, column] = 0
                continue
            i, j, k = triangles[n, 0], triangles[n, 1], triangles[n, 2]
            x0, y0, x1, y1 = screen[i, 0], screen[i, 1], screen[j, 0], screen[j, 1]
            x2, y2 = screen[k, 0], screen[k, 1]
            scale = 1.0 / ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))
            a = ((x1 - column) * (y2 - row) - (x2 - column) * (y1 - row)) * scale
            b = ((x2 - column) * (y0 - row) - (x0 - column) * (y2 - row)) * scale
            d = 1.0 - a - b
            nx = a * normals[i, 0] + b * normals[j, 0] + d * normals[k, 0]
            ny = a * normals[i, 1] + b * normals[j, 1] + d * normals[k, 1]
            nz = a * normals[i, 2] + b * normals[j, 2] + d * normals[k, 2]
            if nz > 0.0 and materials[n] != HEAD:
                nx, ny, nz = -nx, -ny, -nz
            for c in range(3):
                rgb[c] = a * colours[i, c] + b * colours[j, c] + d * colours[k, c]
            material = materials[n]
            label = labels_of[material]
            strength, power = gloss_of[material, 0], gloss_of[material, 1]
            x = a * local[i, 0] + b * local[j, 0] + d * local[k, 0]
            y = a * local[i, 1] + b * local[j, 1] + d * local[k, 1]
            z = a * local[i, 2] + b * local[j, 2] + d * local[k, 2]
            is_eye = False
            dx, dy, dz = 0.0, 0.0, -1.0
            if material == HEAD:
                strength *= 1.0 if light[L_SKIN] > 0.5 else 0.3
                if z < mouth[M_FRONT]:
                    for e in range(2):
                        if in_eye(eyes[e], x, y):
                            is_eye = True
                            dx, dy, dz = _eye_paint(eyes[e], x, y, rgb)
                    if is_eye:
                        label, strength, power = np.uint8(3), 0.10, 4.0
                        nx = turn[0, 0] * dx + turn[0, 1] * dy + turn[0, 2] * dz
                        ny = turn[1, 0] * dx + turn[1, 1] * dy + turn[1, 2] * dz
                        nz = turn[2, 0] * dx + turn[2, 1] * dy + turn[2, 2] * dz
                    elif in_mouth(mouth, x, y):
                        label, strength = np.uint8(4), 0.0
                        _, upper, lower, _, _ = lips(mouth, x)
                        share = (y - upper) / (lower - upper + 1e-6)
                        glow = 0.25 + 0.75 * _step(0.25, 1.0, share)
                        rgb[0], rgb[1], rgb[2] = 0.060 * glow, 0.009 * glow, 0.012 * glow
                    else:
                        paint, tilt, gloss = _face_paint(eyes, mouth, x, y, rgb)
                        label = np.uint8(paint)
                        ny += tilt
                        strength += gloss
            scale = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz + 1e-9)
            nx, ny, nz = nx * scale, ny * scale, nz * scale
            lambert = nx * kx + ny * ky + nz * kz
            up = 0.5 - 0.5 * ny
            facing = min(max(-nz, 0.0), 1.0)
            rim = (1.0 - facing) ** 3 * max(nx * light[12] + ny * light[13] + nz * light[14], 0.0)
            soft = 0.34 if light[L_SKIN] > 0.5 else 0.26
            shine = max(nx * hx + ny * hy + nz * hz, 0.0)
            for _ in range(int(power)):
                shine *= shine
            shine *= strength
            dull = cover[i] * a + cover[j] * b + cover[k] * d if material != HAIR else 1.0
            for c in range(3):
                wrap = soft - 0.07 * c
                direct = max((lambert + wrap) / (1.0 + wrap), 0.0)
                ambient = light[L_GROUND_RGB + c] + (light[L_SKY_RGB + c] - light[L_GROUND_RGB + c]) * up
                value = rgb[c] * (ambient * dull + light[L_KEY_RGB + c] * direct * (0.35 + 0.65 * dull))
                value += shine * light[L_KEY_RGB + c] * dull + rim * light[L_RIM_RGB + c] * (0.15 + rgb[c])
                samples[row, column, c] = value
            if is_eye:
                glint = nx * -0.42 + ny * -0.46 + nz * -0.782
                spark = _step(0.952, 0.972, glint)
                glint = nx * 0.36 + ny * 0.34 + nz * -0.869
                spark = max(spark, 0.35 * _step(0.975, 0.99, glint))
                for c in range(3):
                    samples[row, column, c] += (1.0 - samples[row, column, c]) * spark
            labels[row, column] = label


@_compiled
def develop(samples, labels, curve, image, small_labels):
    """Average square blocks of samples, apply the sRGB curve; a block's label is its most frequent one."""
    height, width, _ = image.shape
    step = samples.shape[0] // height
    votes = np.zeros(8, np.int32)
    scale = 1.0 / (step * step)
    top = curve.shape[0] - 1
    for row in range(height):
        for column in range(width):
            for c in range(3):
                total = 0.0
                for i in range(step):
                    for j in range(step):
                        # Clipping each sample keeps bright edges (catch-lights, whiskers) antialiased.
                        total += min(samples[row * step + i, column * step + j, c], 1.0)
                image[row, column, c] = curve[int(min(max(total * scale, 0.0), 1.0) * top + 0.5)]
            votes[:] = 0
            for i in range(step):
                for j in range(step):
                    votes[labels[row * step + i, column * step + j]] += 1
            best = 0
            for n in range(1, 8):
                if votes[n] > votes[best]:
                    best = n
            small_labels[row, column] = best


@_compiled
def pose_vertices(local, follow, turn, pivot, head_shift, body_shift, out):
    """Head-local positions -> camera space: the head's share turns about the pivot, the rest only sways."""
    for n in range(local.shape[0]):
        x, y, z = local[n, 0] - pivot[0], local[n, 1] - pivot[1], local[n, 2] - pivot[2]
        w = follow[n]
        for c in range(3):
            turned = turn[c, 0] * x + turn[c, 1] * y + turn[c, 2] * z + pivot[c] + head_shift[c]
            out[n, c] = w * turned + (1.0 - w) * (local[n, c] + body_shift[c])


@_compiled
def vertex_normals(points, triangles, num_surface, host, out):
    """Area-weighted normals of the first `num_surface` triangles; vertices of strands take their host's."""
    out[:] = 0.0
    for n in range(num_surface):
        i, j, k = triangles[n, 0], triangles[n, 1], triangles[n, 2]
        ax, ay, az = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], points[j, 2] - points[i, 2]
        bx, by, bz = points[k, 0] - points[i, 0], points[k, 1] - points[i, 1], points[k, 2] - points[i, 2]
        cx, cy, cz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for v in (i, j, k):
            out[v, 0] += cx
            out[v, 1] += cy
            out[v, 2] += cz
    for n in range(points.shape[0]):
        v = host[n]
        if v == n:
            scale = 1.0 / math.sqrt(out[n, 0] ** 2 + out[n, 1] ** 2 + out[n, 2] ** 2 + 1e-20)
            out[n, 0] *= scale
            out[n, 1] *= scale
            out[n, 2] *= scale
    for n in range(points.shape[0]):
        v = host[n]
        if v != n:
            out[n, 0], out[n, 1], out[n, 2] = out[v, 0], out[v, 1], out[v, 2]


@_compiled
def find_on_front(points, triangles, first, stop, queries, owners, weights):
    """For each query x, y: the foremost triangle of [first, stop) that covers it in the x-y plane, or -1."""
    for q in range(queries.shape[0]):
        x, y = queries[q, 0], queries[q, 1]
        owners[q] = -1
        nearest = 1e9
        for n in range(first, stop):
            i, j, k = triangles[n, 0], triangles[n, 1], triangles[n, 2]
            y0, y1, y2 = points[i, 1], points[j, 1], points[k, 1]
            if y < min(y0, y1, y2) or y > max(y0, y1, y2):
                continue
            x0, x1, x2 = points[i, 0], points[j, 0], points[k, 0]
            if x < min(x0, x1, x2) or x > max(x0, x1, x2):
                continue
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            if area == 0.0:
                continue
            a = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
            b = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
            c = 1.0 - a - b
            if a < -1e-4 or b < -1e-4 or c < -1e-4:
                continue
            z = a * points[i, 2] + b * points[j, 2] + c * points[k, 2]
            if z < nearest:
                nearest = z
                owners[q] = n
                weights[q, 0], weights[q, 1], weights[q, 2] = a, b, c
