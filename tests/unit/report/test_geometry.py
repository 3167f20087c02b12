"""Cosines and principal components from inner products, against the vectors themselves."""

import json

import numpy as np
import pytest

from optimer.errors import ArtifactError
from optimer.report import pca
from optimer.report.geometry import cosines, extended_gram, read_geometry

VECTORS = np.array([[3.0, 0, 0, 0], [3, 4, 0, 0], [0, 0, 2, 0], [1, 1, 1, 1]])
GRAM = VECTORS @ VECTORS.T


def test_cosine_literal():
    cosine = cosines(GRAM)
    assert cosine[0, 1] == pytest.approx(0.6)
    assert cosine[0, 2] == 0
    assert np.diag(cosine) == pytest.approx(1)
    assert (cosine == cosine.T).all()


def test_a_zero_vector_has_no_cosine():
    assert np.isnan(cosines(np.diag([4.0, 0.0]))[0, 1])


def test_combinations_of_the_pool():
    weights = np.array([[0.5, 0, 2, 0]])
    merged = weights @ VECTORS
    whole = np.vstack([VECTORS, merged])
    assert extended_gram(GRAM, weights) == pytest.approx(whole @ whole.T)


def test_pca_keeps_distances_and_equals_svd():
    fitted = pca.fit(GRAM, 3)
    points = fitted.project(GRAM)
    centred = VECTORS - VECTORS.mean(axis=0)
    for i in range(4):
        for j in range(4):  # four points span three dimensions: distances are exact
            assert np.linalg.norm(points[i] - points[j]) == pytest.approx(
                np.linalg.norm(VECTORS[i] - VECTORS[j])
            )
    singular = np.linalg.svd(centred, compute_uv=False)
    assert np.linalg.norm(points, axis=0) == pytest.approx(singular[:3])
    assert fitted.explained_K.sum() == pytest.approx(1)


def test_new_points_are_projected_onto_the_same_axes():
    fitted = pca.fit(GRAM, 2)
    _, _, axes = np.linalg.svd(VECTORS - VECTORS.mean(axis=0))
    new = np.array([[1.0, -2, 0.5, 3]])
    expected = (new - VECTORS.mean(axis=0)) @ axes[:2].T
    assert np.abs(fitted.project(new @ VECTORS.T)) == pytest.approx(np.abs(expected))


def test_signs_are_fixed():
    points = pca.fit(GRAM, 2).project(GRAM)
    for column in points.T:
        assert column[np.abs(column).argmax()] > 0


def test_pca_refuses_what_it_cannot_show():
    with pytest.raises(ArtifactError, match="need 4 vectors, found 2"):
        pca.fit(np.eye(2), 3)
    with pytest.raises(ArtifactError, match="span fewer than 2 dimensions"):
        pca.fit(np.ones((4, 4)), 2)


def test_reading(geometry):
    _, paths = geometry
    read = read_geometry(paths.geometry)
    assert read.names[0] == "it"
    assert list(read.layers) == ["0", "1", "other"]
    assert sum(read.layers.values()) == pytest.approx(read.gram_NN)
    assert read.trajectories["cpt_ja"].steps == [10, 20, 30]
    assert read.combine({"it": 0.5, "cpt_zh": 1.0})[[0, read.names.index("cpt_zh")]].tolist() == [
        0.5,
        1.0,
    ]
    with pytest.raises(ArtifactError, match="no vector cpt_fr"):
        read.combine({"cpt_fr": 1.0})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda c: c.pop("base_norm"), "KeyError: 'base_norm'"),
        (lambda c: c["gram"].pop(), "must be 9 x 9 and finite, found"),
        (lambda c: c["gram"][0].__setitem__(1, float("nan")), "must be 9 x 9 and finite"),
        (lambda c: c["gram"][0].__setitem__(1, 99.0), "must be symmetric"),
    ],
)
def test_a_broken_geometry_is_refused(geometry, change, text):
    _, paths = geometry
    content = json.loads(paths.geometry.read_text())
    change(content)
    paths.geometry.write_text(json.dumps(content))
    with pytest.raises(ArtifactError) as error:
        read_geometry(paths.geometry)
    assert text in str(error.value)
    assert "geometry.json" in str(error.value)
