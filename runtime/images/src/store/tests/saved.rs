//! Archives of saved images: what `docker save` and other tools write, and what lies.

use super::*;

/// What `docker save` writes: the parts can be bent one by one.
struct Saved {
    layers: Vec<Vec<u8>>,
    diff_ids: Vec<String>,
    tags: &'static str,
}

impl Saved {
    fn new() -> Self {
        let layers = vec![
            Tar::new().folder("bin").file("bin/sh", "low").done(),
            Tar::new().file("bin/.wh.sh", "").file("top", "high").done(),
        ];
        let diff_ids = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        Self {
            layers,
            diff_ids,
            tags: r#"["app:1","other/app:2"]"#,
        }
    }

    fn config(&self) -> Vec<u8> {
        let diff_ids = serde_json::to_string(&self.diff_ids).expect("JSON");
        format!(
            r#"{{"architecture":"{}","os":"linux","created":"2024-01-01T00:00:00Z","config":{{"Cmd":["sh"],"Env":null}},
            "history":[{{"created_by":"x"}}],"rootfs":{{"type":"layers","diff_ids":{diff_ids}}}}}"#,
            host()
        )
        .into_bytes()
    }

    fn manifest(&self, config: &str, layers: &[&str]) -> String {
        let layers = serde_json::to_string(layers).expect("JSON");
        format!(
            r#"[{{"Config":"{config}","RepoTags":{},"Layers":{layers}}}]"#,
            self.tags
        )
    }

    /// The form of Docker up to 24.
    fn docker(&self) -> Vec<u8> {
        let name = format!("{}.json", Digest::of(&self.config()).hex());
        Tar::new()
            .bytes("a/layer.tar", &self.layers[0])
            .bytes("b/layer.tar", &gzip(&self.layers[1]))
            .symlink("c/layer.tar", "../b/layer.tar")
            .bytes(&name, &self.config())
            .file(
                "manifest.json",
                &self.manifest(&name, &["a/layer.tar", "c/layer.tar"]),
            )
            .file("repositories", "{}")
            .done()
    }

    fn oci(&self, bend: impl Fn(&str) -> String) -> Vec<u8> {
        let descriptor = |kind: &str, content: &[u8], more: &str| {
            let (digest, size) = (Digest::of(content), content.len());
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":{size}{more}}}"#
            )
        };
        let blob = |content: &[u8]| format!("blobs/sha256/{}", Digest::of(content).hex());
        let config = self.config();
        let layers: Vec<_> = self.layers.iter().map(|layer| gzip(layer)).collect();
        let described: Vec<_> = layers
            .iter()
            .map(|layer| descriptor("layer.v1.tar+gzip", layer, ""))
            .collect();
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
            descriptor("config.v1+json", &config, ""),
            described.join(",")
        );
        let manifest = bend(&manifest);
        let name = r#","annotations":{"io.containerd.image.name":"docker.io/library/oci:3"}"#;
        let alien = r#","platform":{"os":"linux","architecture":"pdp11"}"#;
        let inner = format!(
            r#"{{"manifests":[{},{}]}}"#,
            descriptor("manifest.v1+json", b"none", alien),
            descriptor("manifest.v1+json", manifest.as_bytes(), "")
        );
        let index = format!(
            r#"{{"manifests":[{}]}}"#,
            descriptor("index.v1+json", inner.as_bytes(), name)
        );
        let tar = Tar::new()
            .file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
            .file("index.json", &index);
        let tar = layers
            .iter()
            .fold(tar, |tar, layer| tar.bytes(&blob(layer), layer));
        tar.bytes(&blob(&config), &config)
            .bytes(&blob(manifest.as_bytes()), manifest.as_bytes())
            .bytes(&blob(inner.as_bytes()), inner.as_bytes())
            .done()
    }
}

fn host() -> &'static str {
    crate::document::host_architecture()
}

#[test]
fn what_docker_saves_is_loaded_and_keeps_its_id() {
    let (_folder, store) = store();
    let saved = Saved::new();
    for archive in [saved.docker(), gzip(&saved.docker())] {
        let loaded = store.load(&archive[..]).expect("load");
        assert_eq!(loaded[0].id, Digest::of(&saved.config()));
        assert_eq!(
            loaded[0]
                .names
                .iter()
                .map(Reference::familiar)
                .collect::<Vec<_>>(),
            ["app:1", "other/app:2"]
        );
    }
    let image = store.get("app:1").expect("by its name");
    assert_eq!(image.raw, saved.config());
    assert_eq!(
        fs::read_to_string(image.layers[0].join("top")).expect("topmost first"),
        "high"
    );
    assert_eq!(
        fs::read_to_string(image.layers[1].join("bin/sh")).expect("lowest last"),
        "low"
    );
    let loaded = store.load(&saved.oci(str::to_owned)[..]).expect("an OCI layout");
    assert_eq!(loaded[0].names[0].familiar(), "oci:3");
    assert_eq!(store.list().len(), 1, "it is the same image");
    assert_eq!(image.document.rootfs.diff_ids.len(), 2);
}

// A table: its length is its worth.
#[allow(clippy::too_many_lines)]
#[test]
fn saved_archives_that_lie_are_refused_and_nothing_changes() {
    let (folder, store) = store();
    let before = files(folder.path());
    let saved = Saved::new();
    let layer = &saved.layers[0];
    let pair = |manifest: &str, config: &[u8]| {
        Tar::new()
            .bytes("l", layer)
            .bytes("c", config)
            .file("manifest.json", manifest)
            .done()
    };
    let config = saved.config();
    let mut swapped = Saved::new();
    swapped.layers.swap(0, 1);
    let mut device = Saved::new();
    device.layers[1] = Tar::new().member("dev", EntryType::Char, "", 0, b"").done();
    device.diff_ids[1] = Digest::of(&device.layers[1]).to_string();
    let mut name = Saved::new();
    name.tags = r#"["Not A Name"]"#;
    let wrong = format!("{}.json", "0".repeat(64));
    for (what, archive, reason) in [
        ("no manifest", Tar::new().file("a", "a").done(), "holds no image"),
        ("an empty manifest", pair("[]", &config), "holds no image"),
        (
            "a manifest that is no JSON",
            pair("[", &config),
            "can't be understood",
        ),
        (
            "a configuration that is no JSON",
            pair(&saved.manifest("c", &["l", "l"]), b"{"),
            "can't be understood",
        ),
        (
            "a missing configuration",
            pair(&saved.manifest("none", &[]), &config),
            "\"none\" is missing",
        ),
        (
            "a missing layer",
            pair(&saved.manifest("c", &["l", "x"]), &config),
            "\"x\" is missing",
        ),
        (
            "fewer layers than configured",
            pair(&saved.manifest("c", &["l"]), &config),
            "lists 1 layers",
        ),
        (
            "more layers than configured",
            pair(&saved.manifest("c", &["l", "l", "l"]), &config),
            "lists 3 layers",
        ),
        (
            "another layer than configured",
            pair(&saved.manifest("c", &["l", "l"]), &config),
            "has the digest",
        ),
        ("layers in another order", swapped.docker(), "has the digest"),
        (
            "a manifest that points outside",
            pair(&saved.manifest("../../etc/passwd", &[]), &config),
            "\"..\"",
        ),
        ("a name that is none", name.docker(), "invalid reference"),
        ("a device in the second layer", device.docker(), "device node"),
        (
            "a member twice",
            Tar::new().file("a", "1").file("a", "2").done(),
            "name is taken",
        ),
        (
            "a configuration of another digest",
            Tar::new()
                .bytes(&wrong, &config)
                .file("manifest.json", &saved.manifest(&wrong, &[]))
                .done(),
            "has the digest",
        ),
        (
            "a layout whose descriptor has the wrong size",
            saved.oci(|manifest| manifest.replacen("\"size\":", "\"size\":1", 1)),
            "bytes, not",
        ),
        (
            "a layout whose layer is missing",
            saved.oci(|manifest| manifest.replacen(&Digest::of(&gzip(layer)).hex(), &"0".repeat(64), 1)),
            "is missing",
        ),
        (
            "a layout with a digest that is none",
            saved.oci(|manifest| manifest.replace("sha256:", "sha256:../../")),
            "not a SHA-256 digest",
        ),
    ] {
        let error = store.load(&archive[..]).expect_err(what).to_string();
        assert!(error.contains(reason), "{what}: {error}");
        assert_eq!(files(folder.path()), before, "{what} left something behind");
    }
}

#[test]
fn several_images_are_loaded_all_or_none() {
    let (folder, store) = store();
    let before = files(folder.path());
    let saved = Saved::new();
    let manifest = |layers: &str| {
        format!(
            r#"[{{"Config":"c","RepoTags":["one:1"],"Layers":["a","b"]}},{{"Config":"d","RepoTags":null,"Layers":{layers}}}]"#
        )
    };
    let archive = |layers: &str| {
        Tar::new()
            .bytes("a", &saved.layers[0])
            .bytes("b", &saved.layers[1])
            .bytes("c", &saved.config())
            .bytes("d", &[saved.config(), b" ".to_vec()].concat())
            .file("manifest.json", &manifest(layers))
            .done()
    };
    store
        .load(&archive(r#"["a","a"]"#)[..])
        .expect_err("the second is wrong");
    assert_eq!(files(folder.path()), before);
    let loaded = store.load(&archive(r#"["a","b"]"#)[..]).expect("both");
    assert_eq!(loaded.len(), 2);
    assert!(loaded[1].names.is_empty());
    assert_eq!(
        fs::read_dir(folder.path().join("images/layers"))
            .expect("layers")
            .count(),
        2,
        "layers are shared"
    );
}

/// In a mount namespace of its own, which ends with the shell.
#[test]
fn overlayfs_takes_the_layers_as_they_are() {
    let (_folder, store) = store();
    let saved = Saved::new();
    store.load(&saved.docker()[..]).expect("load");
    let layers: Vec<_> = store
        .get("app:1")
        .expect("the image")
        .layers
        .iter()
        .map(|layer| layer.display().to_string())
        .collect();
    let target = TempDir::new().expect("a folder");
    let script = format!(
        "mount -t overlay overlay -o ro,lowerdir={} {1} && ls {1} {1}/bin && umount {1}",
        layers.join(":"),
        target.path().display()
    );
    let seen = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .output()
        .expect("unshare");
    let seen = (
        String::from_utf8_lossy(&seen.stdout).into_owned(),
        String::from_utf8_lossy(&seen.stderr).into_owned(),
    );
    assert!(
        seen.0.contains("top") && !seen.0.lines().any(|line| line == "sh"),
        "{seen:?}"
    );
}

#[test]
fn a_layer_that_an_image_has_twice_is_one_directory_for_overlayfs() {
    let (_folder, store) = store();
    let mut saved = Saved::new();
    // Low, high, low: the upper one of two equal layers hides the lower one.
    saved.diff_ids.push(saved.diff_ids[0].clone());
    let archive = Tar::new()
        .bytes("l", &saved.layers[0])
        .bytes("h", &saved.layers[1])
        .bytes("c", &saved.config())
        .file("manifest.json", &saved.manifest("c", &["l", "h", "l"]))
        .done();
    store.load(&archive[..]).expect("load");
    let image = store.get("app:1").expect("the image");
    assert_eq!(image.document.rootfs.diff_ids.len(), 3);
    let shown: Vec<_> = image
        .layers
        .iter()
        .map(|layer| layer.join("top").exists())
        .collect();
    assert_eq!(shown, [false, true], "{:?}", image.layers);
}

#[test]
fn references_to_one_document_do_not_multiply_it_in_memory() {
    let (folder, store) = store();
    let before = files(folder.path());
    let padding = " ".repeat(8 << 20);
    let config = format!("{{\"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[]}}{padding}}}");
    let manifest = format!("[{}]", [r#"{"Config":"c"}"#; 9].join(","));
    let archive = Tar::new()
        .file("c", &config)
        .file("manifest.json", &manifest)
        .done();
    let error = store.load(&archive[..]).expect_err("too large").to_string();
    assert!(error.contains("too large together"), "{error}");
    assert_eq!(files(folder.path()), before);
}
