//! Why the kernel says "no such file" of a file that is there (D7).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::SetupError;

/// As much of a script as the kernel looks at.
const SHEBANG_LIMIT: u64 = 256;

/// How many scripts may run scripts; the kernel's own limit.
const MOST_SCRIPTS: usize = 5;

/// What is really missing when executing `path` failed for want of a file.
pub(crate) fn explain(path: &Path) -> SetupError {
    let name = path.display().to_string();
    if !path.exists() {
        return SetupError::NoSuchFile { path: name };
    }
    let mut current = path.to_owned();
    for _ in 0..MOST_SCRIPTS {
        let shown = current.display().to_string();
        match interpreter(&current) {
            Ok(Some(Wanted { program, script })) => {
                let next = Path::new("/").join(&program);
                if script && next.exists() {
                    // The interpreter is there, so it is the interpreter's own loader that is not.
                    current = next;
                    continue;
                }
                return SetupError::MissingInterpreter {
                    path: shown,
                    interpreter: program,
                    script,
                };
            }
            _ => break,
        }
    }
    SetupError::NotExecutable {
        path: name,
        errno: nix::libc::ENOENT,
    }
}

struct Wanted {
    program: String,
    script: bool,
}

fn interpreter(path: &Path) -> io::Result<Option<Wanted>> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    (&mut file).take(SHEBANG_LIMIT).read_to_end(&mut head)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        return Ok(Some(Wanted {
            program: shebang(line),
            script: true,
        }));
    }
    Ok(elf_loader(&mut file, &head)?.map(|program| Wanted {
        program,
        script: false,
    }))
}

/// The first word of the line; a carriage return is part of it, as it is for the kernel.
fn shebang(line: &[u8]) -> String {
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let word = line
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .find(|word| !word.is_empty());
    String::from_utf8_lossy(word.unwrap_or_default()).into_owned()
}

/// The `PT_INTERP` of a little-endian ELF file, which all machines we run on use.
fn elf_loader(file: &mut File, head: &[u8]) -> io::Result<Option<String>> {
    const PT_INTERP: u64 = 3;
    const LONGEST: u64 = 4096;

    let wide = match head.get(..6) {
        Some(b"\x7fELF\x02\x01") => true,
        Some(b"\x7fELF\x01\x01") => false,
        _ => return Ok(None),
    };
    let number = |bytes: &[u8], at: usize, size: usize| -> Option<u64> {
        let field = bytes.get(at..at + size)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u64::from(*byte)),
        )
    };
    let word = if wide { 8 } else { 4 };
    let fields = if wide { (32, 54, 56) } else { (28, 42, 44) };
    let table = (
        number(head, fields.0, word),
        number(head, fields.1, 2),
        number(head, fields.2, 2),
    );
    let (Some(offset), Some(size), Some(count)) = table else {
        return Ok(None);
    };
    for index in 0..count {
        let mut header = Vec::new();
        file.seek(SeekFrom::Start(offset.saturating_add(index * size)))?;
        (&mut *file).take(size).read_to_end(&mut header)?;
        if number(&header, 0, 4) != Some(PT_INTERP) {
            continue;
        }
        let place = if wide { (8, 32) } else { (4, 16) };
        let (Some(at), Some(length)) = (
            number(&header, place.0, word),
            number(&header, place.1, word),
        ) else {
            return Ok(None);
        };
        let mut name = Vec::new();
        file.seek(SeekFrom::Start(at))?;
        (&mut *file)
            .take(length.min(LONGEST))
            .read_to_end(&mut name)?;
        let name = name.strip_suffix(b"\0").unwrap_or(&name);
        return Ok(Some(String::from_utf8_lossy(name).into_owned()));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: D7
    #[test]
    fn shebang_lines() {
        let cases = [
            ("/bin/sh\n", "/bin/sh"),
            (" /usr/bin/env python3\n", "/usr/bin/env"),
            ("/bin/sh\r\necho", "/bin/sh\r"),
            ("\t/bin/a\t-x", "/bin/a"),
            ("\n", ""),
        ];
        assert!(!cases.is_empty());
        for (line, expected) in cases {
            assert_eq!(shebang(line.as_bytes()), expected, "{line:?}");
        }
    }

    // conformance: D7
    #[test]
    fn the_loader_of_a_program_is_found() {
        let own = std::env::current_exe().unwrap();
        let found = interpreter(&own).unwrap();
        if cfg!(target_feature = "crt-static") {
            assert!(found.is_none());
        } else {
            let found = found.unwrap();
            assert!(!found.script);
            assert!(Path::new(&found.program).exists(), "{}", found.program);
        }
    }

    #[test]
    fn cut_off_programs_are_no_trouble() {
        let directory = tempfile::tempdir().unwrap();
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for length in [0, 4, 6, 20, 60, 64, 100, 200] {
            let path = directory.path().join(length.to_string());
            std::fs::write(&path, &own[..length]).unwrap();
            // The name of the loader stands far behind the headers.
            assert!(interpreter(&path).unwrap().is_none(), "{length} bytes");
        }
    }
}
