//! The whole file: directives, instructions, stages, warnings.

use crate::command::{Command, Instruction};
use crate::directive;
use crate::dockerfile::{Dockerfile, Stage};
use crate::error::{Diagnostic, Fault, ParseError};
use crate::excerpt::caret;
use crate::instruction::{Line, openings};
use crate::lint::Linter;
use crate::logical::{Located, Logical, LogicalLines, Physical, physical_lines};
use crate::position::{Position, Span};

/// Reads a Dockerfile. The error lists every faulty instruction, not only the first.
pub fn parse(text: &[u8]) -> Result<Dockerfile, ParseError> {
    let physical = physical_lines(text);
    let (directives, faults) = directive::read(&physical);
    let mut reader = Reader::new(&physical, directives.escape);
    for (line, fault) in faults {
        reader.directive_fault(line, fault);
    }
    reader.read_all();
    if reader.errors.is_empty() {
        let fault = if text.is_empty() {
            Some(Fault::Empty)
        } else if !reader.has_instructions {
            Some(Fault::NoInstructions)
        } else if reader.stages.is_empty() {
            Some(Fault::NoStages)
        } else {
            None
        };
        reader.errors.extend(fault.map(whole_file));
    }
    if !reader.errors.is_empty() {
        return Err(ParseError {
            errors: reader.errors,
        });
    }
    let warnings = reader
        .linter
        .finish(&reader.stages, directives.check.as_ref());
    Ok(Dockerfile {
        directives,
        global_args: reader.global_args,
        stages: reader.stages,
        warnings,
        lines: physical
            .iter()
            .map(|line| line.content().to_owned())
            .collect(),
    })
}

/// Reads the one instruction of an `ONBUILD` trigger (C16, C17); lines count from the start of `text`.
pub fn parse_trigger(text: &str, escape: char) -> Result<Instruction, ParseError> {
    let physical = physical_lines(text.as_bytes());
    let mut reader = Reader::new(&physical, escape);
    let mut lines = LogicalLines::new(&physical, escape);
    let Some((logical, problem)) = lines.next_line(|text| openings(text, escape)) else {
        return Err(ParseError {
            errors: vec![whole_file(Fault::NoInstructions)],
        });
    };
    let result = match problem {
        Some(problem) => Err(problem),
        None => trigger(&logical, escape),
    };
    match (result, lines.next_line(|text| openings(text, escape))) {
        (Ok(instruction), None) => return Ok(instruction),
        (Err(located), _) => reader.fault(&logical, located),
        (Ok(_), Some((more, _))) => {
            let located = Located {
                fault: Fault::MoreThanOne,
                at: 0..more.text.len(),
            };
            reader.fault(&more, located);
        }
    }
    Err(ParseError {
        errors: reader.errors,
    })
}

fn trigger(logical: &Logical, escape: char) -> Result<Instruction, Located> {
    let line = Line::new(logical, escape)?;
    line.check_trigger()?;
    let command = line.command()?;
    Ok(Instruction {
        span: logical.span(),
        source: logical.text.clone(),
        command,
    })
}

fn whole_file(fault: Fault) -> Diagnostic {
    Diagnostic {
        span: None,
        line: None,
        fault,
        excerpt: String::new(),
    }
}

struct Reader<'a> {
    physical: &'a [Physical<'a>],
    escape: char,
    global_args: Vec<Instruction>,
    stages: Vec<Stage>,
    errors: Vec<Diagnostic>,
    linter: Linter,
    has_instructions: bool,
    /// Said once: everything behind it would only repeat it.
    said_before_from: bool,
}

impl<'a> Reader<'a> {
    fn new(physical: &'a [Physical<'a>], escape: char) -> Self {
        Self {
            physical,
            escape,
            global_args: Vec::new(),
            stages: Vec::new(),
            errors: Vec::new(),
            linter: Linter::default(),
            has_instructions: false,
            said_before_from: false,
        }
    }

    fn read_all(&mut self) {
        let escape = self.escape;
        let mut lines = LogicalLines::new(self.physical, escape);
        while let Some((logical, problem)) = lines.next_line(|text| openings(text, escape)) {
            self.has_instructions = true;
            let result = match problem {
                Some(problem) => Err(problem),
                None => self.instruction(&logical),
            };
            if let Err(located) = result {
                self.fault(&logical, located);
            }
        }
    }

    fn instruction(&mut self, logical: &Logical) -> Result<(), Located> {
        let line = Line::new(logical, self.escape)?;
        self.linter.line(&line);
        if line.name == "FROM" {
            // A stage is opened even when its line is wrong, or all that follows would be wrong too.
            let stage = |from, name, index| Stage {
                index,
                name,
                from,
                instructions: Vec::new(),
            };
            let index = self.stages.len();
            return match line.from() {
                Ok((from, name)) => {
                    self.stages.push(stage(from, name, index));
                    Ok(())
                }
                Err(located) => {
                    self.said_before_from = true;
                    Err(located)
                }
            };
        }
        let command = line.command()?;
        let (span, source) = (logical.span(), logical.text.clone());
        let instruction = Instruction {
            span,
            source,
            command,
        };
        match self.stages.last_mut() {
            Some(stage) => stage.instructions.push(instruction),
            None if matches!(instruction.command, Command::Arg(_)) => {
                self.global_args.push(instruction);
            }
            None if self.said_before_from => {}
            None => {
                self.said_before_from = true;
                let fault = Fault::BeforeFrom {
                    instruction: line.name.to_owned(),
                };
                return Err(logical.fault(fault, line.written));
            }
        }
        Ok(())
    }

    fn fault(&mut self, logical: &Logical, located: Located) {
        let start = logical.position(located.at.start);
        // The caret stays on the line it starts on.
        let end = logical.position(located.at.end.max(located.at.start));
        let line = self
            .physical
            .get(start.line as usize - 1)
            .map_or("", Physical::content);
        let length = if end.line == start.line {
            end.column.saturating_sub(start.column) as usize
        } else {
            (line.chars().count() + 1).saturating_sub(start.column as usize)
        };
        self.errors.push(Diagnostic {
            span: Some(Span { start, end }),
            line: Some(logical.span().line()),
            fault: located.fault,
            excerpt: caret(line, start, length),
        });
    }

    fn directive_fault(&mut self, number: u32, fault: Fault) {
        let line = self
            .physical
            .get(number as usize - 1)
            .map_or("", Physical::content);
        let length = line.chars().count();
        let start = Position::new(number, 1);
        let end = Position::new(number, length as u32 + 1);
        let excerpt = caret(line, start, length);
        self.errors.push(Diagnostic {
            span: Some(Span { start, end }),
            line: Some(number),
            fault,
            excerpt,
        });
    }
}
