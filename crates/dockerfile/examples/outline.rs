//! Prints what an editor or a documentation tool wants to know of a Dockerfile: stages and arguments with the comments
//! that describe them, instructions with their places, files written in the Dockerfile, and what lint finds.
//!
//! ```sh
//! cargo run -p kiln-dockerfile --example outline -- path/to/Dockerfile
//! ```
#![expect(clippy::print_stdout, reason = "an example shows something")]

use std::error::Error;

use kiln_dockerfile::{Command, Dockerfile, Instruction, LintContext, Source, Span, lint, parse};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: outline DOCKERFILE")?;
    let text = std::fs::read(&path)?;
    let file = parse(&text).map_err(|errors| errors.in_file(&path).to_string())?;
    if let (Some(syntax), Some(span)) = (&file.directives.syntax, file.directives.span("syntax")) {
        println!("{span} syntax {syntax}");
    }
    for stage in &file.stages {
        let from = &stage.from;
        println!(
            "{} stage {} on {}",
            from.span,
            stage.display_name(),
            from.image
        );
        describe(&file, from.span);
        for instruction in &stage.instructions {
            show(&file, instruction);
        }
    }
    for warning in lint(&file, &LintContext::default()) {
        println!(
            "{path}:{}: {}: {}",
            warning.span.start, warning.rule, warning.message
        );
        println!("    {}", warning.rule.documentation);
    }
    Ok(())
}

fn describe(file: &Dockerfile, span: Span) {
    for comment in file.comments_above(span) {
        println!("    # {}", comment.text);
    }
}

fn show(file: &Dockerfile, instruction: &Instruction) {
    println!("  {} {}", instruction.span, instruction.command.name());
    describe(file, instruction.span);
    let sources: &[Source] = match &instruction.command {
        Command::Copy(copy) => &copy.sources,
        Command::Add(add) => &add.sources,
        Command::Run(run) => {
            for script in &run.heredocs {
                println!("    {} script {}", script.span, script.name);
            }
            &[]
        }
        _ => &[],
    };
    for source in sources {
        if let Source::Heredoc(heredoc) = source {
            println!("    {} file {}", heredoc.span, heredoc.name);
        }
    }
}
