import pytest
from trees import clutter, write_image

from reid.data.unlabelled import passed_over, read_unlabelled
from reid.errors import InputError


def test_all_images_at_any_depth_sorted_and_of_nobody(tmp_path):
    for name in ("z.jpg", "a/2.PNG", "a/b/1.jpeg", "a/b.bmp", ".hidden/3.jpg", "a/.4.jpg"):
        write_image(tmp_path / name, 1, 1, size=(8, 4))
    clutter(tmp_path / "a")
    (tmp_path / "folder.jpg").mkdir()  # a folder, whatever its name
    write_image(tmp_path / "folder.jpg" / "5.jpg", 1, 1, size=(8, 4))
    samples = read_unlabelled(tmp_path)
    assert samples.names == ("a/2.PNG", "a/b.bmp", "a/b/1.jpeg", "folder.jpg/5.jpg", "z.jpg")
    assert samples.root == tmp_path and all(path.is_file() for path in samples.paths)
    assert samples.pids.tolist() == [-1] * 5 and samples.camids.tolist() == [0] * 5
    assert samples.pids.dtype == samples.camids.dtype == "int64"


def test_links_that_go_round_end(tmp_path):
    write_image(tmp_path / "a" / "1.jpg", 1, 1, size=(8, 4))
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "twin").symlink_to(tmp_path / "a", target_is_directory=True)
    assert read_unlabelled(tmp_path).names == ("a/1.jpg",)


def test_a_linked_folder_is_read(tmp_path):
    write_image(tmp_path / "elsewhere" / "1.jpg", 1, 1, size=(8, 4))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "camera").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert read_unlabelled(tmp_path / "site").names == ("camera/1.jpg",)


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no folder .*nothing"):
        read_unlabelled(tmp_path / "nothing")
    write_image(tmp_path / "x.jpg", 1, 1, size=(8, 4))
    with pytest.raises(InputError, match=r"no folder .*x\.jpg"):
        read_unlabelled(tmp_path / "x.jpg")
    clutter(tmp_path / "empty" / "deep")
    with pytest.raises(InputError, match=r"empty: no image file \(\.jpg, \.jpeg, .*\.png, \.bmp, .*\.tiff\)"):
        read_unlabelled(tmp_path / "empty")
    (tmp_path / "empty" / "dead.jpg").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"dead\.jpg: cannot be read"):
        read_unlabelled(tmp_path / "empty")


def test_pictures_of_other_formats_are_counted_and_named(tmp_path):
    for name in ("1.jpg", "a/2.webp", "a/3.tif"):
        write_image(tmp_path / name, 1, 1, size=(8, 4))
    assert passed_over(tmp_path) == []
    for name in ("a/x.gif", "y.HEIC", ".hidden/z.gif", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (line,) = passed_over(tmp_path)
    assert line.startswith("2 pictures are not read") and line.endswith("a/x.gif, y.HEIC")
    assert read_unlabelled(tmp_path).names == ("1.jpg", "a/2.webp", "a/3.tif")
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "b.avif").touch()
    with pytest.raises(InputError, match=r"only: no image file .*1 pictures are not read.*b\.avif"):
        read_unlabelled(tmp_path / "only")
