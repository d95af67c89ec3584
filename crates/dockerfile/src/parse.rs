//! The whole file: directives, instructions, stages, comments.

use std::ops::Range;

use crate::command::{Command, Instruction};
use crate::comment::Comment;
use crate::directive;
use crate::dockerfile::{Dockerfile, Stage};
use crate::error::{Diagnostic, Fault, ParseError};
use crate::excerpt::caret;
use crate::instruction::{self, Line, openings};
use crate::limits::{MOST_FAULTS, MOST_INSTRUCTIONS, MOST_LINES, MOST_STAGES};
use crate::logical::{Located, Logical, LogicalLines, Physical, physical_lines};
use crate::position::{Position, Span};
use crate::stage_lookup::copy_source;

/// Reads a Dockerfile. The error lists every faulty instruction, not only the first.
pub fn parse(text: &[u8]) -> Result<Dockerfile, ParseError> {
    if text.split(|byte| *byte == b'\n').count() > MOST_LINES {
        let fault = Fault::TooMany {
            what: "lines",
            limit: MOST_LINES,
            name: "MOST_LINES",
            remedy: "put what is long into files of the context",
        };
        return Err(ParseError {
            errors: vec![Diagnostic {
                line: Some(MOST_LINES as u32 + 1),
                ..Diagnostic::of_file(fault)
            }],
        });
    }
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
        reader.errors.extend(fault.map(Diagnostic::of_file));
    }
    if !reader.errors.is_empty() {
        return Err(ParseError {
            errors: reader.errors,
        });
    }
    reader.check_stage_references();
    let mut comments = reader.comments;
    comments.retain(|comment| !directives.has_line(comment.line()));
    Ok(Dockerfile {
        directives,
        global_args: reader.global_args,
        stages: reader.stages,
        comments,
        empty_continuations: reader.empty_continuations,
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
            errors: vec![Diagnostic::of_file(Fault::NoInstructions)],
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
    let command = checked(&line)?;
    Ok(Instruction {
        span: logical.span(),
        source: logical.text.clone(),
        command,
    })
}

/// The instruction of a line, if it does not ask for too much.
fn checked(line: &Line<'_>) -> Result<Command, Located> {
    let command = line.command()?;
    match instruction::excess(&command) {
        Ok(()) => Ok(command),
        Err(fault) => Err(line.logical.fault(fault, line.written)),
    }
}

struct Reader<'a> {
    physical: &'a [Physical<'a>],
    escape: char,
    global_args: Vec<Instruction>,
    stages: Vec<Stage>,
    comments: Vec<Comment>,
    empty_continuations: Vec<u32>,
    errors: Vec<Diagnostic>,
    /// What names a stage that may not have been read yet.
    references: Vec<StageReference>,
    has_instructions: bool,
    instructions: usize,
    /// There are more of something than there may be; what follows is not looked at.
    is_full: bool,
    /// Said once: everything behind it would only repeat it.
    said_before_from: bool,
}

/// A `--from`, or the `from` of a mount.
struct StageReference {
    /// The stage it is in.
    stage: usize,
    name: String,
    place: Place,
}

/// Where a fault is, and how that is shown.
struct Place {
    span: Span,
    line: u32,
    excerpt: String,
}

impl Place {
    fn with(self, fault: Fault) -> Diagnostic {
        Diagnostic {
            span: Some(self.span),
            line: Some(self.line),
            fault,
            excerpt: self.excerpt,
        }
    }
}

impl<'a> Reader<'a> {
    fn new(physical: &'a [Physical<'a>], escape: char) -> Self {
        Self {
            physical,
            escape,
            global_args: Vec::new(),
            stages: Vec::new(),
            comments: Vec::new(),
            empty_continuations: Vec::new(),
            errors: Vec::new(),
            references: Vec::new(),
            has_instructions: false,
            instructions: 0,
            is_full: false,
            said_before_from: false,
        }
    }

    fn read_all(&mut self) {
        let escape = self.escape;
        let mut lines = LogicalLines::new(self.physical, escape);
        while let Some((logical, problem)) = lines.next_line(|text| openings(text, escape)) {
            self.has_instructions = true;
            self.instructions += 1;
            self.empty_continuations.extend(logical.empty_continuation);
            let result = match problem {
                _ if self.instructions > MOST_INSTRUCTIONS => {
                    self.is_full = true;
                    let fault = Fault::TooMany {
                        what: "instructions",
                        limit: MOST_INSTRUCTIONS,
                        name: "MOST_INSTRUCTIONS",
                        remedy: "build in several steps, each with a file of its own",
                    };
                    Err(Located { fault, at: 0..0 })
                }
                Some(problem) => Err(problem),
                None => self.instruction(&logical),
            };
            if let Err(located) = result {
                self.fault(&logical, located);
            }
            // Nobody reads further, and each fault holds a line.
            if self.is_full || self.errors.len() >= MOST_FAULTS {
                break;
            }
        }
        self.comments = lines.comments;
    }

    fn instruction(&mut self, logical: &Logical) -> Result<(), Located> {
        let line = Line::new(logical, self.escape)?;
        if line.name == "FROM" {
            return self.from(&line);
        }
        let command = checked(&line)?;
        let (span, source) = (logical.span(), logical.text.clone());
        let instruction = Instruction {
            span,
            source,
            command,
        };
        match self.stages.last_mut() {
            Some(stage) => {
                stage.instructions.push(instruction);
                self.doubts(&line);
            }
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

    /// A stage is opened even when its line is wrong, or all that follows would be wrong too.
    fn from(&mut self, line: &Line<'_>) -> Result<(), Located> {
        if self.stages.len() >= MOST_STAGES {
            self.is_full = true;
            let fault = Fault::TooMany {
                what: "stages",
                limit: MOST_STAGES,
                name: "MOST_STAGES",
                remedy: "build in several steps, each with a file of its own",
            };
            return Err(line.logical.fault(fault, line.written));
        }
        match line.from() {
            Ok((from, name)) => {
                self.stages.push(Stage {
                    index: self.stages.len(),
                    name,
                    from,
                    instructions: Vec::new(),
                    faults: Vec::new(),
                });
                self.doubts(line);
                Ok(())
            }
            Err(located) => {
                self.said_before_from = true;
                Err(located)
            }
        }
    }

    /// Keeps what is wrong with values of the line that was just added to the last stage.
    fn doubts(&mut self, line: &Line<'_>) {
        let doubts = line.doubts.take();
        let stage = self.stages.len() - 1;
        for located in doubts.values {
            let diagnostic = self.place(line.logical, &located.at).with(located.fault);
            self.stages[stage].faults.push(diagnostic);
        }
        for (name, at) in doubts.stages {
            let place = self.place(line.logical, &at);
            self.references.push(StageReference { stage, name, place });
        }
    }

    /// Stages that do not exist, or not yet (C5, C6). Known only when all have been read.
    fn check_stage_references(&mut self) {
        for reference in std::mem::take(&mut self.references) {
            let StageReference { stage, name, place } = reference;
            if let Err(error) = copy_source(&self.stages, stage, &name) {
                let faults = &mut self.stages[stage].faults;
                faults.push(place.with(Fault::Stage(error)));
                faults.sort_by_key(|fault| fault.span.map(|span| span.start));
            }
        }
    }

    fn fault(&mut self, logical: &Logical, located: Located) {
        let diagnostic = self.place(logical, &located.at).with(located.fault);
        self.errors.push(diagnostic);
    }

    fn place(&self, logical: &Logical, at: &Range<usize>) -> Place {
        let start = logical.position(at.start);
        // The caret stays on the line it starts on.
        let end = logical.position(at.end.max(at.start));
        let line = self
            .physical
            .get(start.line as usize - 1)
            .map_or("", Physical::content);
        let length = if end.line == start.line {
            end.column.saturating_sub(start.column) as usize
        } else {
            (line.chars().count() + 1).saturating_sub(start.column as usize)
        };
        Place {
            span: Span { start, end },
            line: logical.span().line(),
            excerpt: caret(line, start, length),
        }
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
