"""Every code that reading a spec can report, with a title of one line; the documentation's error index prints this table."""

CODES: dict[str, str] = {
    # layout
    "V001": "a file that declares nothing",
    "V002": "a character that the language does not use",
    "V003": "a bracket that is never closed",
    "V004": "a closing bracket without its opening one",
    "V005": "a string that is never closed",
    "V006": "tabs and spaces mixed in indentation",
    "V007": "an indentation that fits no block",
    "V008": "a line indented under something that opens no block",
    "V009": "a plate or section with nothing in it",
    # statements
    "V010": "a line that begins with no word of the language",
    "V011": "a header without its colon",
    "V012": "a name that is missing",
    "V013": "a type that is missing",
    "V014": "a variable without a law",
    "V015": "a given variable or a parameter with a law",
    "V016": "a statement in a place where it cannot stand",
    "V017": "nesting that is too deep",
    "V018": "an expression that is missing or breaks off",
    "V019": "a line that goes on differently than it can",
    "V020": "a number that is too large",
    "V021": "an end of a range that is not a whole number",
}
