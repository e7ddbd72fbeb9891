use serde_json::json;

use super::*;

#[test]
fn options_of_docker_itself_are_for_docker() {
    let options: Options = [
        ("com.docker.network.portmap", json!([])),
        ("com.docker.network.endpoint.ifname", json!("lan0")),
        ("cnm.routes", json!("10.9.0.0/16=link")),
        ("shade", json!("dark")),
        ("count", json!(3)),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into_iter()
    .collect();
    let expected = [("cnm.routes", "10.9.0.0/16=link"), ("shade", "dark")];
    assert_eq!(
        labels(&options),
        expected
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    );
}

#[test]
fn ids_are_dockers() {
    assert!(endpoint_id(&"ab".repeat(32)).is_ok());
    for text in ["", "ab", "../../x", &"zz".repeat(32)] {
        let error = endpoint_id(text).expect_err(text).to_string();
        assert!(error.contains("is no id of Docker's"), "{error}");
    }
}
