//! What runs, where, and with which environment: the user's wishes over the image's.

use super::{ContainerConfig, ImageDefaults, SpecError, User};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The entry point with its arguments.
pub(super) fn arguments(config: &ContainerConfig, image: &ImageDefaults) -> Result<Vec<String>, SpecError> {
    let wanted = config.cmd.clone().filter(|cmd| !cmd.is_empty());
    let (entrypoint, cmd) = match &config.entrypoint {
        None => (image.entrypoint.clone(), wanted.or_else(|| image.cmd.clone())),
        Some(none) if none.is_empty() => (None, wanted.or_else(|| image.cmd.clone())),
        // How the command line says "no entry point"; the image's command went with it.
        Some(empty) if *empty == [""] => (None, wanted),
        Some(entrypoint) => (Some(entrypoint.clone()), wanted),
    };
    let arguments: Vec<String> = entrypoint
        .into_iter()
        .flatten()
        .chain(cmd.into_iter().flatten())
        .collect();
    if arguments.is_empty() {
        Err(SpecError::NoCommand)
    } else {
        Ok(arguments)
    }
}

/// The working directory.
pub(super) fn working_dir(wanted: &str, image: &str) -> Result<String, SpecError> {
    let directory = [wanted, image, "/"]
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or("/");
    if directory.starts_with('/') {
        Ok(directory.to_owned())
    } else {
        Err(SpecError::WorkingDir(directory.to_owned()))
    }
}

/// The environment of the container's first process.
pub(super) fn environment(config: &ContainerConfig, image: &ImageDefaults, user: &User) -> Vec<String> {
    let mut env = vec![PATH.to_owned()];
    if !config.hostname.is_empty() {
        env.push(format!("HOSTNAME={}", config.hostname));
    }
    if config.tty {
        env.push("TERM=xterm".to_owned());
    }
    set_all(&mut env, &image.env);
    set_all(&mut env, &config.env);
    default_home(&mut env, user);
    env
}

/// Sets each variable of `changes`; a name alone removes it.
pub(super) fn set_all(env: &mut Vec<String>, changes: &[String]) {
    for change in changes {
        let name = change.split('=').next().unwrap_or_default();
        let place = env.iter().position(|one| one.split('=').next() == Some(name));
        match (change.contains('='), place) {
            (true, Some(place)) => env[place].clone_from(change),
            (true, None) => env.push(change.clone()),
            (false, Some(place)) => {
                env.remove(place);
            }
            (false, None) => {}
        }
    }
}

pub(super) fn default_home(env: &mut Vec<String>, user: &User) {
    if !env.iter().any(|one| one.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn entry_point_and_command_merge_as_people_know() {
        let image = ImageDefaults {
            entrypoint: Some(words("/entry")),
            cmd: Some(words("serve")),
            ..Default::default()
        };
        let plain = ImageDefaults {
            cmd: Some(words("sh")),
            ..Default::default()
        };
        type Row<'a> = (
            &'a str,
            &'a ImageDefaults,
            Option<&'a [&'a str]>,
            &'a str,
            Result<&'a str, SpecError>,
        );
        let table: &[Row<'_>] = &[
            ("the_images_own", &image, None, "", Ok("/entry serve")),
            (
                "a_command_replaces_the_images",
                &image,
                None,
                "stop now",
                Ok("/entry stop now"),
            ),
            (
                "an_entry_point_drops_the_images_command",
                &image,
                Some(&["x"]),
                "",
                Ok("x"),
            ),
            (
                "an_entry_point_with_a_command",
                &image,
                Some(&["x"]),
                "y",
                Ok("x y"),
            ),
            (
                "an_empty_entry_point_and_a_command",
                &image,
                Some(&[""]),
                "y",
                Ok("y"),
            ),
            (
                "an_empty_entry_point_alone",
                &image,
                Some(&[""]),
                "",
                Err(SpecError::NoCommand),
            ),
            (
                "an_empty_list_keeps_the_command",
                &image,
                Some(&[]),
                "",
                Ok("serve"),
            ),
            ("no_entry_point", &plain, None, "", Ok("sh")),
            (
                "nothing_at_all",
                &ImageDefaults::default(),
                None,
                "",
                Err(SpecError::NoCommand),
            ),
        ];
        for (name, image, entrypoint, cmd, expected) in table {
            let config = ContainerConfig {
                entrypoint: entrypoint.map(|list| list.iter().map(|word| (*word).to_owned()).collect()),
                cmd: Some(words(cmd)),
                ..Default::default()
            };
            assert_eq!(arguments(&config, image), expected.clone().map(words), "{name}");
        }
    }

    #[test]
    fn the_users_environment_wins_over_the_images_and_a_name_alone_removes() {
        let image = ImageDefaults {
            env: words("PATH=/bin A=1 B=2"),
            ..Default::default()
        };
        let config = ContainerConfig {
            env: words("B=3 C=4 A"),
            hostname: "h".into(),
            tty: true,
            ..Default::default()
        };
        let env = environment(&config, &image, &User::root());
        assert_eq!(env, words("PATH=/bin HOSTNAME=h TERM=xterm B=3 C=4 HOME=/root"));
    }

    #[test]
    fn a_relative_working_directory_is_refused() {
        assert_eq!(working_dir("", "").unwrap(), "/");
        assert_eq!(working_dir("", "/srv").unwrap(), "/srv");
        assert_eq!(working_dir("/x", "/srv").unwrap(), "/x");
        assert!(working_dir("x", "").is_err());
    }
}
