(* Reads one claim per line, prints one verdict per line: ACCEPT, REFUSE, or MALFORMED and why.

   Nothing is decided here: words become the data of the extracted checker, its answer becomes a word.
   A list is its length, then its items; what may be absent is 0, or 1 and the thing itself.

     line     = "bound" bound problem ("closed" | argument)               no placement is below the bound
              | "kept" threshold problem ranks[[expert]]                   this placement keeps the threshold
              | "stages" stages limit[int] layers[choices[need[int]]]      the layers fit so many stages within the limit
     problem  = loads[int] sizes[int] replicas classes[class]
     class    = ranks slots speed memory?
     argument = "prices" p q values[[int]] caps[int] surrogate?          surrogate = a b
              | "split" i j argument argument
              | "branch" nodes[node]                                     node = "v" variable | "l" pairs[row multiplier] *)

open Checker

exception Malformed of string

(* Unary numbers (ranks, slots, experts) above this are refused: they would only fill the memory. *)
let largest_count = 100_000

let words = ref []

let next () =
  match !words with
  | [] -> raise (Malformed "the line ends too early")
  | w :: rest -> words := rest; w

let count () =
  match int_of_string_opt (next ()) with
  | Some n when n >= 0 && n <= largest_count -> n
  | _ -> raise (Malformed "not a count")

let nat () =
  let rec unary n m = if n = 0 then m else unary (n - 1) (S m) in
  unary (count ()) O

let ten = Zpos (XO (XI (XO XH)))

let digit c =
  let rec from n = if n = 0 then Z0 else Z.add (from (n - 1)) (Zpos XH) in
  if '0' <= c && c <= '9' then from (Char.code c - Char.code '0') else raise (Malformed "not a number")

let z () =
  let w = next () in
  let negative = w.[0] = '-' in
  let digits = if negative then String.sub w 1 (String.length w - 1) else w in
  if digits = "" then raise (Malformed "not a number");
  let value = Seq.fold_left (fun n c -> Z.add (Z.mul ten n) (digit c)) Z0 (String.to_seq digits) in
  if negative then Z.opp value else value

let n () = Z.to_N (z ())

let list item =
  let rec items k found = if k = 0 then List.rev found else items (k - 1) (item () :: found) in
  items (count ()) []

let option item = match next () with "0" -> None | "1" -> Some (item ()) | _ -> raise (Malformed "neither 0 nor 1")

let pair first second = let a = first () in let b = second () in (a, b)

let rank_class () =
  let ranks = nat () in
  let slots = nat () in
  let speed = z () in
  { ranks; slots; speed; memory = option z }

let problem () =
  let loads = list z in
  let sizes = list z in
  let replicas = nat () in
  { loads; sizes; replicas; classes = list rank_class }

let prices () =
  let scale_p = z () in
  let scale_q = z () in
  let values = list (fun () -> list z) in
  let caps = list z in
  { scale_p; scale_q; values; caps; surrogate = option (fun () -> pair z z) }

let node () =
  match next () with
  | "v" -> Decide (n ())
  | "l" -> Contradict (list (fun () -> pair n z))
  | _ -> raise (Malformed "neither a variable nor a leaf")

let rec argument = function
  | "prices" -> ByPrices (prices ())
  | "split" ->
      let i = nat () in
      let j = nat () in
      let same = argument (next ()) in
      BySplit (i, j, same, argument (next ()))
  | "branch" -> ByBranch (list node)
  | kind -> raise (Malformed ("no such argument: " ^ kind))

let bound () =
  let bound = z () in
  let about = problem () in
  check_bound about bound (match next () with "closed" -> None | kind -> Some (argument kind))

let kept () =
  let threshold = z () in
  let about = problem () in
  check_kept about threshold (list (fun () -> list nat))

let stages () =
  let number = nat () in
  let limit = list z in
  fits_stages number limit (list (fun () -> list (fun () -> list z)))

let verdict line =
  words := List.filter (( <> ) "") (String.split_on_char ' ' line);
  let holds =
    match next () with
    | "bound" -> bound
    | "kept" -> kept
    | "stages" -> stages
    | kind -> raise (Malformed ("no such claim: " ^ kind))
  in
  let answer = holds () in
  if !words <> [] then raise (Malformed "the line goes on after its end");
  if answer then "ACCEPT" else "REFUSE"

let () =
  try
    while true do
      print_endline (try verdict (input_line stdin) with Malformed why -> "MALFORMED " ^ why)
    done
  with End_of_file -> ()
