use super::*;
use crate::Expander;

fn parse(raw: &str) -> Result<Mount, String> {
    let vars = [("T", "/t"), ("SIZE", "1g"), ("KIND", "cache")];
    let expander = Expander::default();
    Mount::parse(raw, &mut |value| {
        expander.word(value, &vars).map(|e| e.text)
    })
    .map_err(|e| e.to_string())
}

// conformance: D24, D30, D33, D34, D37, D38
#[test]
fn understood() {
    let empty = |kind| Mount::empty(kind);
    let some = |text: &str| Some(text.to_owned());
    let rows = [
        (
            "target=/x",
            Mount {
                target: some("/x"),
                ..empty(MountType::Bind)
            },
        ),
        (
            "type=bind,from=build,src=/a,dst=b,rw",
            Mount {
                target: some("b"),
                source: some("/a"),
                from: some("build"),
                read_only: Some(false),
                ..empty(MountType::Bind)
            },
        ),
        (
            "TYPE=Cache,Destination=$T,Id=i,sharing=LOCKED,mode=0750,uid=10,gid=0,ro=true",
            Mount {
                target: some("/t"),
                id: some("i"),
                sharing: Some(Sharing::Locked),
                mode: Some(0o750),
                uid: Some(10),
                gid: Some(0),
                read_only: Some(true),
                ..empty(MountType::Cache)
            },
        ),
        (
            "type=$KIND,target=/x",
            Mount {
                target: some("/x"),
                ..empty(MountType::Cache)
            },
        ),
        (
            "type=tmpfs,target=/x,size=$SIZE",
            Mount {
                target: some("/x"),
                size: Some(1 << 30),
                ..empty(MountType::Tmpfs)
            },
        ),
        (
            "required,type=secret,id=k,env=KEY,mode=0400",
            Mount {
                id: some("k"),
                env: some("KEY"),
                required: true,
                mode: Some(0o400),
                ..empty(MountType::Secret)
            },
        ),
        (
            "type=secret,target=/run/k",
            Mount {
                target: some("/run/k"),
                ..empty(MountType::Secret)
            },
        ),
        (
            "type=secret,source=k",
            Mount {
                id: some("k"),
                ..empty(MountType::Secret)
            },
        ),
        ("type=ssh", empty(MountType::Ssh)),
        (
            "type=ssh,required=false,readonly=false",
            Mount {
                read_only: Some(false),
                ..empty(MountType::Ssh)
            },
        ),
        (
            "\"target=/a,b\"",
            Mount {
                target: some("/a,b"),
                ..empty(MountType::Bind)
            },
        ),
        (
            "target=/x,readwrite=false",
            Mount {
                target: some("/x"),
                read_only: Some(true),
                ..empty(MountType::Bind)
            },
        ),
    ];
    for (raw, expected) in rows {
        assert_eq!(parse(raw), Ok(expected), "{raw}");
    }
}

// conformance: B14, D24, D25, D34, D38
#[test]
fn refused() {
    let rows = [
        (
            "type=bnd,target=/x",
            "unsupported mount type `bnd` (did you mean bind?)",
        ),
        ("type=volume,target=/x", "unsupported mount type `volume`"),
        (
            "typ=bind,target=/x",
            "unexpected key 'typ' in 'typ=bind' (did you mean type?)",
        ),
        (
            "tagret=/x",
            "unexpected key 'tagret' in 'tagret=/x' (did you mean target?)",
        ),
        ("nonsense", "unexpected key 'nonsense' in 'nonsense'"),
        ("target", "invalid field 'target' must be a key=value pair"),
        (
            "type=tmpfs,target=/x,from=y",
            "unexpected key 'from' for mount type 'tmpfs': it takes type, target, readonly, readwrite, size",
        ),
        (
            "target=/x,mode=0755",
            "unexpected key 'mode' for mount type 'bind': it takes type, target, source, from, readonly, readwrite",
        ),
        (
            "type=ssh,env=X",
            "unexpected key 'env' for mount type 'ssh': it takes type, target, id, readonly, readwrite, mode, uid, gid, required",
        ),
        (
            "target=/x,\"source=q\"\"q\"",
            "failed to process \"q\\\"q\": unexpected end of statement while looking for matching double-quote",
        ),
        ("", "failed to parse csv mount ``: it is empty"),
        ("target=/x,", "unexpected key '' in ''"),
        (
            "target=\"x\"",
            "failed to parse csv mount `target=\"x\"`: bare \" in a field without quotes around it",
        ),
        (
            "\"target=x",
            "failed to parse csv mount `\"target=x`: a quote is not closed",
        ),
        (
            "\"target=x\"y",
            "failed to parse csv mount `\"target=x\"y`: text behind a closing quote",
        ),
        (
            "type=cache,target=/x,sharing=lokced",
            "invalid value for sharing: `lokced`, expected shared, private or locked (did you mean locked?)",
        ),
        (
            "type=cache,target=/x,mode=rwx",
            "invalid value for mode: `rwx`, expected an octal number up to 7777",
        ),
        (
            "type=cache,target=/x,mode=0888",
            "invalid value for mode: `0888`, expected an octal number up to 7777",
        ),
        (
            "type=cache,target=/x,uid=root",
            "invalid value for uid: `root`, expected a decimal number",
        ),
        (
            "type=tmpfs,target=/x,size=big",
            "invalid value for size: `big`, expected bytes, or a number with k, m or g",
        ),
        (
            "target=/x,ro=maybe",
            "invalid value for readonly: `maybe`, expected true or false",
        ),
        (
            "type=cache,target=/a/..",
            "invalid mount target \"/a/..\": cache needs a path below the root",
        ),
        (
            "target=//./",
            "invalid mount target \"//./\": bind needs a path below the root",
        ),
        (
            "type=secret",
            "invalid secret mount: one of id, target or env is required",
        ),
        (
            "type=secret,id=a,source=b",
            "invalid secret mount: both source and id are set, they mean the same",
        ),
        (
            "target=/x,from=$S",
            "'from' doesn't support variable expansion, define alias stage instead: `FROM $S AS name`, then `from=name`",
        ),
        (
            "target=${x:=y}",
            "failed to process \"${x:=y}\": unsupported modifier (:=) in substitution",
        ),
    ];
    for (raw, expected) in rows {
        assert_eq!(parse(raw), Err(expected.to_owned()), "{raw}");
    }
}

#[test]
fn checked_before_variables_are_known() {
    for raw in [
        "target=/x",
        "type=$KIND,id=a",
        "target=$T,mode=$M",
        "target=/a'b c'",
    ] {
        assert_eq!(Mount::check(raw).map(|_| ()), Ok(()), "{raw}");
    }
    for raw in [
        "typ=$KIND",
        "target=$T,from=$F",
        "target=/x,mode=9",
        "target=/",
    ] {
        assert!(Mount::check(raw).is_err(), "{raw}");
    }
}
