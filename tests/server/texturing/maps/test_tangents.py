"""Normal maps hold what the frame of the UV map makes the wanted normal of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scumble_server.texturing.maps.tangents import corner_tangents, in_object_space, tangent_space
from scumble_server.texturing.mesh import make_mesh
from scumble_server.texturing.shapes import plane, torus, uv_sphere
from torch.nn.functional import normalize

torch.set_num_threads(1)


def frames(shape, matrix=None):
    matrix = np.eye(4) if matrix is None else matrix
    mesh = make_mesh("x", shape.vertices, shape.triangles, shape.normals, shape.uvs, matrix_world=matrix)
    corners, normals = in_object_space(mesh, torch.from_numpy(matrix[:3, :3]))
    return (*corner_tangents(corners, normals, mesh.uvs, mesh.triangles), normals)


def test_on_a_plane_u_grows_along_x():
    tangents, hand, _ = frames(plane())
    assert (hand == 1.0).all()
    torch.testing.assert_close(tangents, torch.tensor([1.0, 0.0, 0.0]).double().expand_as(tangents))


@pytest.mark.parametrize("matrix", [np.diag([2.0, 1.0, 0.5, 1.0]), np.diag([-1.0, 1.0, 1.0, 1.0])])
def test_frames_are_those_of_object_space_whatever_the_matrix(matrix):
    for one, other in zip(frames(torus()), frames(torus(), matrix), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0.0)


def test_a_ring_has_the_tangents_of_its_circles():
    shape = torus(rings=24, segments=96)
    tangents, _, normals = frames(shape)
    at = torch.from_numpy(shape.vertices[shape.triangles]).double()
    round_the_axis = normalize(torch.stack([-at[..., 1], at[..., 0], torch.zeros_like(at[..., 0])], -1), dim=2)
    along = (tangents * round_the_axis).sum(2).abs()
    assert float(along.median()) > 0.999
    assert float((tangents * normals).sum(2).abs().max()) < 1e-6


def test_mirrored_islands_turn_the_other_way():
    shape = plane()
    flipped = shape.uvs * np.float32([-1.0, 1.0]) + np.float32([1.0, 0.0])
    tangents, hand, _ = frames(type(shape)(shape.vertices, shape.triangles, shape.normals, flipped))
    assert (hand == -1.0).all()
    torch.testing.assert_close(tangents, torch.tensor([-1.0, 0.0, 0.0]).double().expand_as(tangents))


def test_corners_that_share_all_share_a_tangent():
    shape = uv_sphere(rings=12, segments=24)
    tangents, _, _ = frames(shape)
    rows = np.concatenate([shape.triangles[..., None], shape.uvs], axis=2).reshape(-1, 3)
    _, group = np.unique(rows, axis=0, return_inverse=True)
    for number in range(group.max() + 1):
        same = tangents.view(-1, 3)[group.ravel() == number]
        torch.testing.assert_close(same, same[:1].expand_as(same))


@pytest.mark.parametrize("hand", [1.0, -1.0])
def test_reading_the_map_gives_the_wanted_normal_back(hand):
    """As Blender reads it: a sum of the interpolated frame, of whatever lengths and angles."""
    torch.manual_seed(0)
    normal = torch.tensor([0.1, -0.2, 0.95])[:, None].expand(3, 200)
    tangent = torch.tensor([0.8, 0.3, 0.1])[:, None].expand(3, 200)
    wanted = normalize(normal + 0.4 * torch.randn(3, 200), dim=0)
    hands = torch.full((200,), hand)
    colour = tangent_space(wanted, tangent, normal, hands)
    bitangent = torch.linalg.cross(normal, tangent, dim=0) * hands
    read = normalize(colour[0] * tangent + colour[1] * bitangent + colour[2] * normal, dim=0)
    facing = colour[2] > 2e-3
    assert int(facing.sum()) > 150
    torch.testing.assert_close(read[:, facing], wanted[:, facing], atol=1e-5, rtol=0.0)


def test_without_a_tangent_the_map_is_flat():
    none = torch.zeros(3, 4)
    up = torch.tensor([0.0, 0.0, 1.0])[:, None].expand(3, 4)
    torch.testing.assert_close(tangent_space(up, none, up, torch.ones(4)), up)
