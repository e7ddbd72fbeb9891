//! What the user asked, with the image's word where the user has none. Pure.

use images::Defaults;

use crate::{
    error::{Error, Result},
    record::Settings,
};

/// Fills in what the image says.
///
/// # Errors
/// `Invalid` when neither says what to run.
pub(super) fn merge(settings: &mut Settings, image: &Defaults) -> Result<()> {
    let run = &mut settings.run;
    let replaced = run.entrypoint.is_some();
    let entrypoint = run
        .entrypoint
        .take()
        .or_else(|| image.entrypoint.clone())
        .unwrap_or_default();
    // `--entrypoint ""` asks for none.
    let entrypoint = if entrypoint.iter().all(String::is_empty) {
        Vec::new()
    } else {
        entrypoint
    };
    let asked = run.cmd.take().filter(|cmd| !cmd.is_empty());
    let from_image = if replaced { None } else { image.cmd.clone() };
    let cmd = asked.or(from_image).unwrap_or_default();
    if entrypoint.is_empty() && cmd.is_empty() {
        return Err(Error::invalid("no command specified")
            .with_hint("the image names no command either: give one behind the image's name"));
    }
    run.entrypoint = Some(entrypoint).filter(|words| !words.is_empty());
    run.cmd = Some(cmd).filter(|words| !words.is_empty());
    run.env = environment(&image.env, &run.env);
    fill(&mut run.user, &image.user);
    fill(&mut run.working_dir, &image.working_dir);
    fill(
        &mut settings.stop_signal,
        image.stop_signal.as_deref().unwrap_or_default(),
    );
    settings.health = super::health::merged(settings.health.take(), image.healthcheck.as_ref())?;
    if settings.shell.is_empty() {
        settings.shell = image.shell.clone().unwrap_or_default();
    }
    for (key, value) in &image.labels {
        settings
            .labels
            .entry(key.clone())
            .or_insert_with(|| value.clone());
    }
    settings.exposed_ports.extend(image.exposed_ports.keys().cloned());
    settings.exposed_ports = super::ports::exposed_together(&settings.exposed_ports);
    Ok(())
}

fn fill(text: &mut String, from_image: &str) {
    if text.is_empty() {
        from_image.clone_into(text);
    }
}

/// The image's variables, replaced or removed by the user's; the user's new ones behind.
fn environment(image: &[String], user: &[String]) -> Vec<String> {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let named = |of: &str| user.iter().rev().find(|variable| name(variable) == of);
    let mut merged: Vec<String> = image
        .iter()
        .map(|variable| named(&name(variable)).unwrap_or(variable).clone())
        .collect();
    let more = user
        .iter()
        .filter(|variable| !image.iter().any(|other| name(other) == name(variable)));
    merged.extend(more.cloned());
    merged.retain(|variable| variable.contains('='));
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::testing;

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn the_command_follows_dockers_rules() {
        let image = |entrypoint, cmd| Defaults {
            entrypoint,
            cmd,
            ..Defaults::default()
        };
        for (name, image, entrypoint, cmd, wanted) in [
            (
                "the image's command",
                image(None, words("top")),
                None,
                None,
                (None, words("top")),
            ),
            (
                "the user's command",
                image(None, words("top")),
                None,
                words("ps"),
                (None, words("ps")),
            ),
            (
                "entry point and its arguments",
                image(words("sh"), words("-c x")),
                None,
                words("-l"),
                (words("sh"), words("-l")),
            ),
            (
                "an entry point drops the image's command",
                image(None, words("top")),
                words("sh"),
                None,
                (words("sh"), None),
            ),
            (
                "an empty entry point removes the image's",
                image(words("sh"), None),
                Some(vec![String::new()]),
                words("ls"),
                (None, words("ls")),
            ),
        ] {
            let mut settings = testing::settings();
            (settings.run.entrypoint, settings.run.cmd) = (entrypoint, cmd);
            merge(&mut settings, &image).expect(name);
            assert_eq!((settings.run.entrypoint, settings.run.cmd), wanted, "{name}");
        }
        assert!(
            merge(&mut testing::settings(), &Defaults::default()).is_err(),
            "nothing to run"
        );
    }

    #[test]
    fn variables_are_replaced_removed_and_added() {
        let list = |text: &str| words(text).expect("words");
        assert_eq!(
            environment(
                &list("PATH=/bin HOME=/ X=1"),
                &list("X HOME=/root NEW=2 NEW=3 GONE")
            ),
            list("PATH=/bin HOME=/root NEW=2 NEW=3")
        );
    }

    #[test]
    fn the_users_labels_and_ports_come_before_the_images() {
        let mut settings = testing::settings();
        settings.run.cmd = words("top");
        settings.labels.insert("a".into(), "user".into());
        let image = Defaults {
            labels: [("a", "image"), ("b", "image")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            exposed_ports: [("80/tcp".to_owned(), images::Empty {})].into(),
            stop_signal: Some("SIGINT".into()),
            ..Defaults::default()
        };
        merge(&mut settings, &image).expect("a command");
        assert_eq!(settings.labels["a"], "user");
        assert_eq!(settings.labels["b"], "image");
        assert!(settings.exposed_ports.contains("80/tcp"));
        assert_eq!(settings.stop_signal, "SIGINT");
    }
}
