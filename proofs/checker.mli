
val negb : bool -> bool

type nat =
| O
| S of nat

val fst : ('a1 * 'a2) -> 'a1

val snd : ('a1 * 'a2) -> 'a2

val length : 'a1 list -> nat

val app : 'a1 list -> 'a1 list -> 'a1 list

type comparison =
| Eq
| Lt
| Gt

val compOpp : comparison -> comparison

val add : nat -> nat -> nat

val mul : nat -> nat -> nat

val sub : nat -> nat -> nat

type positive =
| XI of positive
| XO of positive
| XH

type n =
| N0
| Npos of positive

type z =
| Z0
| Zpos of positive
| Zneg of positive

module Nat :
 sig
  val eqb : nat -> nat -> bool

  val leb : nat -> nat -> bool

  val ltb : nat -> nat -> bool
 end

module Pos :
 sig
  type mask =
  | IsNul
  | IsPos of positive
  | IsNeg
 end

module Coq_Pos :
 sig
  val succ : positive -> positive

  val add : positive -> positive -> positive

  val add_carry : positive -> positive -> positive

  val pred_double : positive -> positive

  type mask = Pos.mask =
  | IsNul
  | IsPos of positive
  | IsNeg

  val succ_double_mask : mask -> mask

  val double_mask : mask -> mask

  val double_pred_mask : positive -> mask

  val sub_mask : positive -> positive -> mask

  val sub_mask_carry : positive -> positive -> mask

  val sub : positive -> positive -> positive

  val mul : positive -> positive -> positive

  val size_nat : positive -> nat

  val compare_cont : comparison -> positive -> positive -> comparison

  val compare : positive -> positive -> comparison

  val eqb : positive -> positive -> bool

  val gcdn : nat -> positive -> positive -> positive

  val gcd : positive -> positive -> positive

  val iter_op : ('a1 -> 'a1 -> 'a1) -> positive -> 'a1 -> 'a1

  val to_nat : positive -> nat

  val of_succ_nat : nat -> positive
 end

module N :
 sig
  val succ_pos : n -> positive

  val add : n -> n -> n

  val mul : n -> n -> n

  val compare : n -> n -> comparison

  val ltb : n -> n -> bool

  val to_nat : n -> nat

  val of_nat : nat -> n
 end

module Z :
 sig
  val double : z -> z

  val succ_double : z -> z

  val pred_double : z -> z

  val pos_sub : positive -> positive -> z

  val add : z -> z -> z

  val opp : z -> z

  val sub : z -> z -> z

  val mul : z -> z -> z

  val compare : z -> z -> comparison

  val leb : z -> z -> bool

  val ltb : z -> z -> bool

  val eqb : z -> z -> bool

  val max : z -> z -> z

  val min : z -> z -> z

  val abs : z -> z

  val to_N : z -> n

  val of_nat : nat -> z

  val pos_div_eucl : positive -> z -> z * z

  val div_eucl : z -> z -> z * z

  val div : z -> z -> z

  val gcd : z -> z -> z

  val lcm : z -> z -> z
 end

val nth : nat -> 'a1 list -> 'a1 -> 'a1

val nth_error : 'a1 list -> nat -> 'a1 option

val concat : 'a1 list list -> 'a1 list

val map : ('a1 -> 'a2) -> 'a1 list -> 'a2 list

val flat_map : ('a1 -> 'a2 list) -> 'a1 list -> 'a2 list

val fold_right : ('a2 -> 'a1 -> 'a1) -> 'a1 -> 'a2 list -> 'a1

val existsb : ('a1 -> bool) -> 'a1 list -> bool

val forallb : ('a1 -> bool) -> 'a1 list -> bool

val filter : ('a1 -> bool) -> 'a1 list -> 'a1 list

val firstn : nat -> 'a1 list -> 'a1 list

val skipn : nat -> 'a1 list -> 'a1 list

val seq : nat -> nat -> nat list

val repeat : 'a1 -> nat -> 'a1 list

type rank_class = { ranks : nat; slots : nat; speed : z; memory : z option }

type problem = { loads : z list; sizes : z list; classes : rank_class list;
                 replicas : nat }

val experts : problem -> nat

val load : problem -> nat -> z

val size : problem -> nat -> z

val sum : (nat -> z) -> nat list -> z

val total_slots : problem -> nat

val full : problem -> bool

val mem : nat -> nat list -> bool

type item = { count : nat; options : (z * z) list }

val dominates : (z * z) -> (z * z) -> bool

val ahead : (z * z) -> (z * z) -> bool

val join : (z * z) list -> (z * z) -> (z * z) list -> (z * z) list

val before : z * z

val add0 : z -> z -> (z * z) -> (z * z) list -> (z * z) list

val extend : z -> z -> item -> (z * z) list -> (z * z) list -> (z * z) list

val zip :
  ((z * z) list -> (z * z) list -> (z * z) list) -> (z * z) list list ->
  (z * z) list list -> (z * z) list list

val table : z -> z -> nat -> item list -> (z * z) list list

val worth_at_most : z -> (z * z) list -> bool

val within_cap : nat -> bool -> z -> z -> item list -> bool

type prices = { scale_p : z; scale_q : z; values : z list list;
                caps : z list; surrogate : (z * z) option }

type decided = { blocks : nat list list; apart : (nat * nat) list }

val undecided : problem -> decided

val drop : nat -> nat list list -> nat list list

val leaving_out : (nat * nat) list -> nat list list -> nat list list list

val value : prices -> nat -> nat -> z

val scaled : problem -> prices -> nat -> nat -> z

val weight : problem -> prices -> nat -> nat -> z

val item_of : problem -> prices -> nat list -> item

val limit : z -> prices -> rank_class -> z option

val heaviest : item list -> z

val kept_within :
  problem -> z -> prices -> rank_class -> z -> nat list list -> bool

val check_class : problem -> z -> decided -> prices -> rank_class -> z -> bool

val check_caps :
  problem -> z -> decided -> prices -> rank_class list -> z list -> bool

val demand : rank_class list -> z list -> z

val supply : problem -> prices -> nat -> z

val nonnegative : z list -> bool

val well_formed : problem -> prices -> bool

val check_prices : problem -> z -> decided -> prices -> bool

val insert : ('a1 -> z) -> 'a1 -> 'a1 list -> 'a1 list

val sort : ('a1 -> z) -> 'a1 list -> 'a1 list

val share : decided -> nat -> nat -> bool

val known : decided -> nat -> nat -> bool

val touched : nat -> nat -> nat list -> bool

val together : decided -> nat -> nat -> decided

val separate : decided -> nat -> nat -> decided

module PositiveMap :
 sig
  type key = positive

  type 'a tree =
  | Leaf
  | Node of 'a tree * 'a option * 'a tree

  type 'a t = 'a tree

  val empty : 'a1 t

  val find : key -> 'a1 t -> 'a1 option

  val add : key -> 'a1 -> 'a1 t -> 'a1 t
 end

type row = { left : (n * z) list; right : z; equality : bool }

type node =
| Decide of n
| Contradict of (n * z) list

val plus : (n * z) list -> (n * z) list -> (n * z) list

val scale : z -> (n * z) list -> (n * z) list

val nth_row : row list -> n -> row option

val combine : row list -> (n * z) list -> ((n * z) list * z) option

type box = z PositiveMap.t

val fixed : box -> n -> z option

val fix_at : box -> n -> z -> box

val minimum : box -> (n * z) list -> z

val side : box option -> n -> z -> box option

val check_leaf : row list -> box option -> (n * z) list -> bool

val walk : n -> row list -> node list -> box option list -> bool

val zero_box : n list -> box

val check_tree : n -> row list -> n list -> node list -> bool

val rank_list : problem -> rank_class list

val rank_count : problem -> nat

val unit0 : problem -> z

val variable : problem -> nat -> nat -> nat -> n

val variables : problem -> n

val of_expert : problem -> (nat -> z) -> nat -> nat -> (n * z) list

val on_rank : problem -> (nat -> nat -> z) -> nat -> (n * z) list

val expert_row : problem -> nat -> row

val rank_rows : problem -> z -> nat -> rank_class -> row list

val all_rank_rows : problem -> z -> nat -> rank_class list -> row list

val once_rows : problem -> row list

val system : problem -> z -> row list

val by_load : problem -> nat list

val unused : problem -> nat -> rank_class list -> n list

val check_branch : problem -> z -> node list -> bool

val ceil_div : z -> z -> z

val speeds : problem -> z

val total_load : problem -> z

val area_exceeds : problem -> z -> bool

val last_sum : (nat -> z) -> nat -> nat list -> z

val area : (nat -> z) -> nat -> nat list -> z

val pigeonhole : (nat -> z) -> nat -> nat -> nat list -> nat -> z

val counting : (nat -> z) -> nat -> nat list -> nat -> z

val least_maximum : (nat -> z) -> nat -> nat -> nat list -> z

val closed_form_exceeds : problem -> z -> bool

type argument =
| ByPrices of prices
| BySplit of nat * nat * argument * argument
| ByBranch of node list

val most_separations : nat

val check_under : problem -> z -> decided -> argument -> bool

val check_argument : problem -> z -> argument -> bool

val check_bound : problem -> z -> argument option -> bool
