
(** val negb : bool -> bool **)

let negb = function
| true -> false
| false -> true

type nat =
| O
| S of nat

(** val fst : ('a1 * 'a2) -> 'a1 **)

let fst = function
| (x, _) -> x

(** val snd : ('a1 * 'a2) -> 'a2 **)

let snd = function
| (_, y) -> y

(** val length : 'a1 list -> nat **)

let rec length = function
| [] -> O
| _ :: l' -> S (length l')

(** val app : 'a1 list -> 'a1 list -> 'a1 list **)

let rec app l m =
  match l with
  | [] -> m
  | a :: l1 -> a :: (app l1 m)

type comparison =
| Eq
| Lt
| Gt

(** val compOpp : comparison -> comparison **)

let compOpp = function
| Eq -> Eq
| Lt -> Gt
| Gt -> Lt

module Coq__1 = struct
 (** val add : nat -> nat -> nat **)
 let rec add n0 m =
   match n0 with
   | O -> m
   | S p -> S (add p m)
end
include Coq__1

(** val mul : nat -> nat -> nat **)

let rec mul n0 m =
  match n0 with
  | O -> O
  | S p -> add m (mul p m)

(** val sub : nat -> nat -> nat **)

let rec sub n0 m =
  match n0 with
  | O -> n0
  | S k -> (match m with
            | O -> n0
            | S l -> sub k l)

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

module Nat =
 struct
  (** val eqb : nat -> nat -> bool **)

  let rec eqb n0 m =
    match n0 with
    | O -> (match m with
            | O -> true
            | S _ -> false)
    | S n' -> (match m with
               | O -> false
               | S m' -> eqb n' m')

  (** val leb : nat -> nat -> bool **)

  let rec leb n0 m =
    match n0 with
    | O -> true
    | S n' -> (match m with
               | O -> false
               | S m' -> leb n' m')

  (** val ltb : nat -> nat -> bool **)

  let ltb n0 m =
    leb (S n0) m
 end

module Pos =
 struct
  type mask =
  | IsNul
  | IsPos of positive
  | IsNeg
 end

module Coq_Pos =
 struct
  (** val succ : positive -> positive **)

  let rec succ = function
  | XI p -> XO (succ p)
  | XO p -> XI p
  | XH -> XO XH

  (** val add : positive -> positive -> positive **)

  let rec add x y =
    match x with
    | XI p ->
      (match y with
       | XI q -> XO (add_carry p q)
       | XO q -> XI (add p q)
       | XH -> XO (succ p))
    | XO p ->
      (match y with
       | XI q -> XI (add p q)
       | XO q -> XO (add p q)
       | XH -> XI p)
    | XH -> (match y with
             | XI q -> XO (succ q)
             | XO q -> XI q
             | XH -> XO XH)

  (** val add_carry : positive -> positive -> positive **)

  and add_carry x y =
    match x with
    | XI p ->
      (match y with
       | XI q -> XI (add_carry p q)
       | XO q -> XO (add_carry p q)
       | XH -> XI (succ p))
    | XO p ->
      (match y with
       | XI q -> XO (add_carry p q)
       | XO q -> XI (add p q)
       | XH -> XO (succ p))
    | XH ->
      (match y with
       | XI q -> XI (succ q)
       | XO q -> XO (succ q)
       | XH -> XI XH)

  (** val pred_double : positive -> positive **)

  let rec pred_double = function
  | XI p -> XI (XO p)
  | XO p -> XI (pred_double p)
  | XH -> XH

  type mask = Pos.mask =
  | IsNul
  | IsPos of positive
  | IsNeg

  (** val succ_double_mask : mask -> mask **)

  let succ_double_mask = function
  | IsNul -> IsPos XH
  | IsPos p -> IsPos (XI p)
  | IsNeg -> IsNeg

  (** val double_mask : mask -> mask **)

  let double_mask = function
  | IsPos p -> IsPos (XO p)
  | x0 -> x0

  (** val double_pred_mask : positive -> mask **)

  let double_pred_mask = function
  | XI p -> IsPos (XO (XO p))
  | XO p -> IsPos (XO (pred_double p))
  | XH -> IsNul

  (** val sub_mask : positive -> positive -> mask **)

  let rec sub_mask x y =
    match x with
    | XI p ->
      (match y with
       | XI q -> double_mask (sub_mask p q)
       | XO q -> succ_double_mask (sub_mask p q)
       | XH -> IsPos (XO p))
    | XO p ->
      (match y with
       | XI q -> succ_double_mask (sub_mask_carry p q)
       | XO q -> double_mask (sub_mask p q)
       | XH -> IsPos (pred_double p))
    | XH -> (match y with
             | XH -> IsNul
             | _ -> IsNeg)

  (** val sub_mask_carry : positive -> positive -> mask **)

  and sub_mask_carry x y =
    match x with
    | XI p ->
      (match y with
       | XI q -> succ_double_mask (sub_mask_carry p q)
       | XO q -> double_mask (sub_mask p q)
       | XH -> IsPos (pred_double p))
    | XO p ->
      (match y with
       | XI q -> double_mask (sub_mask_carry p q)
       | XO q -> succ_double_mask (sub_mask_carry p q)
       | XH -> double_pred_mask p)
    | XH -> IsNeg

  (** val sub : positive -> positive -> positive **)

  let sub x y =
    match sub_mask x y with
    | IsPos z0 -> z0
    | _ -> XH

  (** val mul : positive -> positive -> positive **)

  let rec mul x y =
    match x with
    | XI p -> add y (XO (mul p y))
    | XO p -> XO (mul p y)
    | XH -> y

  (** val size_nat : positive -> nat **)

  let rec size_nat = function
  | XI p0 -> S (size_nat p0)
  | XO p0 -> S (size_nat p0)
  | XH -> S O

  (** val compare_cont : comparison -> positive -> positive -> comparison **)

  let rec compare_cont r x y =
    match x with
    | XI p ->
      (match y with
       | XI q -> compare_cont r p q
       | XO q -> compare_cont Gt p q
       | XH -> Gt)
    | XO p ->
      (match y with
       | XI q -> compare_cont Lt p q
       | XO q -> compare_cont r p q
       | XH -> Gt)
    | XH -> (match y with
             | XH -> r
             | _ -> Lt)

  (** val compare : positive -> positive -> comparison **)

  let compare =
    compare_cont Eq

  (** val eqb : positive -> positive -> bool **)

  let rec eqb p q =
    match p with
    | XI p0 -> (match q with
                | XI q0 -> eqb p0 q0
                | _ -> false)
    | XO p0 -> (match q with
                | XO q0 -> eqb p0 q0
                | _ -> false)
    | XH -> (match q with
             | XH -> true
             | _ -> false)

  (** val gcdn : nat -> positive -> positive -> positive **)

  let rec gcdn n0 a b =
    match n0 with
    | O -> XH
    | S n1 ->
      (match a with
       | XI a' ->
         (match b with
          | XI b' ->
            (match compare a' b' with
             | Eq -> a
             | Lt -> gcdn n1 (sub b' a') a
             | Gt -> gcdn n1 (sub a' b') b)
          | XO b0 -> gcdn n1 a b0
          | XH -> XH)
       | XO a0 ->
         (match b with
          | XI _ -> gcdn n1 a0 b
          | XO b0 -> XO (gcdn n1 a0 b0)
          | XH -> XH)
       | XH -> XH)

  (** val gcd : positive -> positive -> positive **)

  let gcd a b =
    gcdn (Coq__1.add (size_nat a) (size_nat b)) a b

  (** val iter_op : ('a1 -> 'a1 -> 'a1) -> positive -> 'a1 -> 'a1 **)

  let rec iter_op op p a =
    match p with
    | XI p0 -> op a (iter_op op p0 (op a a))
    | XO p0 -> iter_op op p0 (op a a)
    | XH -> a

  (** val to_nat : positive -> nat **)

  let to_nat x =
    iter_op Coq__1.add x (S O)

  (** val of_succ_nat : nat -> positive **)

  let rec of_succ_nat = function
  | O -> XH
  | S x -> succ (of_succ_nat x)
 end

module N =
 struct
  (** val succ_pos : n -> positive **)

  let succ_pos = function
  | N0 -> XH
  | Npos p -> Coq_Pos.succ p

  (** val add : n -> n -> n **)

  let add n0 m =
    match n0 with
    | N0 -> m
    | Npos p -> (match m with
                 | N0 -> n0
                 | Npos q -> Npos (Coq_Pos.add p q))

  (** val mul : n -> n -> n **)

  let mul n0 m =
    match n0 with
    | N0 -> N0
    | Npos p -> (match m with
                 | N0 -> N0
                 | Npos q -> Npos (Coq_Pos.mul p q))

  (** val compare : n -> n -> comparison **)

  let compare n0 m =
    match n0 with
    | N0 -> (match m with
             | N0 -> Eq
             | Npos _ -> Lt)
    | Npos n' -> (match m with
                  | N0 -> Gt
                  | Npos m' -> Coq_Pos.compare n' m')

  (** val ltb : n -> n -> bool **)

  let ltb x y =
    match compare x y with
    | Lt -> true
    | _ -> false

  (** val to_nat : n -> nat **)

  let to_nat = function
  | N0 -> O
  | Npos p -> Coq_Pos.to_nat p

  (** val of_nat : nat -> n **)

  let of_nat = function
  | O -> N0
  | S n' -> Npos (Coq_Pos.of_succ_nat n')
 end

module Z =
 struct
  (** val double : z -> z **)

  let double = function
  | Z0 -> Z0
  | Zpos p -> Zpos (XO p)
  | Zneg p -> Zneg (XO p)

  (** val succ_double : z -> z **)

  let succ_double = function
  | Z0 -> Zpos XH
  | Zpos p -> Zpos (XI p)
  | Zneg p -> Zneg (Coq_Pos.pred_double p)

  (** val pred_double : z -> z **)

  let pred_double = function
  | Z0 -> Zneg XH
  | Zpos p -> Zpos (Coq_Pos.pred_double p)
  | Zneg p -> Zneg (XI p)

  (** val pos_sub : positive -> positive -> z **)

  let rec pos_sub x y =
    match x with
    | XI p ->
      (match y with
       | XI q -> double (pos_sub p q)
       | XO q -> succ_double (pos_sub p q)
       | XH -> Zpos (XO p))
    | XO p ->
      (match y with
       | XI q -> pred_double (pos_sub p q)
       | XO q -> double (pos_sub p q)
       | XH -> Zpos (Coq_Pos.pred_double p))
    | XH ->
      (match y with
       | XI q -> Zneg (XO q)
       | XO q -> Zneg (Coq_Pos.pred_double q)
       | XH -> Z0)

  (** val add : z -> z -> z **)

  let add x y =
    match x with
    | Z0 -> y
    | Zpos x' ->
      (match y with
       | Z0 -> x
       | Zpos y' -> Zpos (Coq_Pos.add x' y')
       | Zneg y' -> pos_sub x' y')
    | Zneg x' ->
      (match y with
       | Z0 -> x
       | Zpos y' -> pos_sub y' x'
       | Zneg y' -> Zneg (Coq_Pos.add x' y'))

  (** val opp : z -> z **)

  let opp = function
  | Z0 -> Z0
  | Zpos x0 -> Zneg x0
  | Zneg x0 -> Zpos x0

  (** val sub : z -> z -> z **)

  let sub m n0 =
    add m (opp n0)

  (** val mul : z -> z -> z **)

  let mul x y =
    match x with
    | Z0 -> Z0
    | Zpos x' ->
      (match y with
       | Z0 -> Z0
       | Zpos y' -> Zpos (Coq_Pos.mul x' y')
       | Zneg y' -> Zneg (Coq_Pos.mul x' y'))
    | Zneg x' ->
      (match y with
       | Z0 -> Z0
       | Zpos y' -> Zneg (Coq_Pos.mul x' y')
       | Zneg y' -> Zpos (Coq_Pos.mul x' y'))

  (** val compare : z -> z -> comparison **)

  let compare x y =
    match x with
    | Z0 -> (match y with
             | Z0 -> Eq
             | Zpos _ -> Lt
             | Zneg _ -> Gt)
    | Zpos x' -> (match y with
                  | Zpos y' -> Coq_Pos.compare x' y'
                  | _ -> Gt)
    | Zneg x' ->
      (match y with
       | Zneg y' -> compOpp (Coq_Pos.compare x' y')
       | _ -> Lt)

  (** val leb : z -> z -> bool **)

  let leb x y =
    match compare x y with
    | Gt -> false
    | _ -> true

  (** val ltb : z -> z -> bool **)

  let ltb x y =
    match compare x y with
    | Lt -> true
    | _ -> false

  (** val eqb : z -> z -> bool **)

  let eqb x y =
    match x with
    | Z0 -> (match y with
             | Z0 -> true
             | _ -> false)
    | Zpos p -> (match y with
                 | Zpos q -> Coq_Pos.eqb p q
                 | _ -> false)
    | Zneg p -> (match y with
                 | Zneg q -> Coq_Pos.eqb p q
                 | _ -> false)

  (** val max : z -> z -> z **)

  let max n0 m =
    match compare n0 m with
    | Lt -> m
    | _ -> n0

  (** val min : z -> z -> z **)

  let min n0 m =
    match compare n0 m with
    | Gt -> m
    | _ -> n0

  (** val abs : z -> z **)

  let abs = function
  | Zneg p -> Zpos p
  | x -> x

  (** val to_N : z -> n **)

  let to_N = function
  | Zpos p -> Npos p
  | _ -> N0

  (** val of_nat : nat -> z **)

  let of_nat = function
  | O -> Z0
  | S n1 -> Zpos (Coq_Pos.of_succ_nat n1)

  (** val pos_div_eucl : positive -> z -> z * z **)

  let rec pos_div_eucl a b =
    match a with
    | XI a' ->
      let (q, r) = pos_div_eucl a' b in
      let r' = add (mul (Zpos (XO XH)) r) (Zpos XH) in
      if ltb r' b
      then ((mul (Zpos (XO XH)) q), r')
      else ((add (mul (Zpos (XO XH)) q) (Zpos XH)), (sub r' b))
    | XO a' ->
      let (q, r) = pos_div_eucl a' b in
      let r' = mul (Zpos (XO XH)) r in
      if ltb r' b
      then ((mul (Zpos (XO XH)) q), r')
      else ((add (mul (Zpos (XO XH)) q) (Zpos XH)), (sub r' b))
    | XH -> if leb (Zpos (XO XH)) b then (Z0, (Zpos XH)) else ((Zpos XH), Z0)

  (** val div_eucl : z -> z -> z * z **)

  let div_eucl a b =
    match a with
    | Z0 -> (Z0, Z0)
    | Zpos a' ->
      (match b with
       | Z0 -> (Z0, a)
       | Zpos _ -> pos_div_eucl a' b
       | Zneg b' ->
         let (q, r) = pos_div_eucl a' (Zpos b') in
         (match r with
          | Z0 -> ((opp q), Z0)
          | _ -> ((opp (add q (Zpos XH))), (add b r))))
    | Zneg a' ->
      (match b with
       | Z0 -> (Z0, a)
       | Zpos _ ->
         let (q, r) = pos_div_eucl a' b in
         (match r with
          | Z0 -> ((opp q), Z0)
          | _ -> ((opp (add q (Zpos XH))), (sub b r)))
       | Zneg b' -> let (q, r) = pos_div_eucl a' (Zpos b') in (q, (opp r)))

  (** val div : z -> z -> z **)

  let div a b =
    let (q, _) = div_eucl a b in q

  (** val gcd : z -> z -> z **)

  let gcd a b =
    match a with
    | Z0 -> abs b
    | Zpos a0 ->
      (match b with
       | Z0 -> abs a
       | Zpos b0 -> Zpos (Coq_Pos.gcd a0 b0)
       | Zneg b0 -> Zpos (Coq_Pos.gcd a0 b0))
    | Zneg a0 ->
      (match b with
       | Z0 -> abs a
       | Zpos b0 -> Zpos (Coq_Pos.gcd a0 b0)
       | Zneg b0 -> Zpos (Coq_Pos.gcd a0 b0))

  (** val lcm : z -> z -> z **)

  let lcm a b =
    abs (mul a (div b (gcd a b)))
 end

(** val nth : nat -> 'a1 list -> 'a1 -> 'a1 **)

let rec nth n0 l default =
  match n0 with
  | O -> (match l with
          | [] -> default
          | x :: _ -> x)
  | S m -> (match l with
            | [] -> default
            | _ :: t0 -> nth m t0 default)

(** val nth_error : 'a1 list -> nat -> 'a1 option **)

let rec nth_error l = function
| O -> (match l with
        | [] -> None
        | x :: _ -> Some x)
| S n1 -> (match l with
           | [] -> None
           | _ :: l0 -> nth_error l0 n1)

(** val concat : 'a1 list list -> 'a1 list **)

let rec concat = function
| [] -> []
| x :: l0 -> app x (concat l0)

(** val map : ('a1 -> 'a2) -> 'a1 list -> 'a2 list **)

let rec map f = function
| [] -> []
| a :: t0 -> (f a) :: (map f t0)

(** val flat_map : ('a1 -> 'a2 list) -> 'a1 list -> 'a2 list **)

let rec flat_map f = function
| [] -> []
| x :: t0 -> app (f x) (flat_map f t0)

(** val fold_right : ('a2 -> 'a1 -> 'a1) -> 'a1 -> 'a2 list -> 'a1 **)

let rec fold_right f a0 = function
| [] -> a0
| b :: t0 -> f b (fold_right f a0 t0)

(** val existsb : ('a1 -> bool) -> 'a1 list -> bool **)

let rec existsb f = function
| [] -> false
| a :: l0 -> (||) (f a) (existsb f l0)

(** val forallb : ('a1 -> bool) -> 'a1 list -> bool **)

let rec forallb f = function
| [] -> true
| a :: l0 -> (&&) (f a) (forallb f l0)

(** val filter : ('a1 -> bool) -> 'a1 list -> 'a1 list **)

let rec filter f = function
| [] -> []
| x :: l0 -> if f x then x :: (filter f l0) else filter f l0

(** val firstn : nat -> 'a1 list -> 'a1 list **)

let rec firstn n0 l =
  match n0 with
  | O -> []
  | S n1 -> (match l with
             | [] -> []
             | a :: l0 -> a :: (firstn n1 l0))

(** val skipn : nat -> 'a1 list -> 'a1 list **)

let rec skipn n0 l =
  match n0 with
  | O -> l
  | S n1 -> (match l with
             | [] -> []
             | _ :: l0 -> skipn n1 l0)

(** val seq : nat -> nat -> nat list **)

let rec seq start = function
| O -> []
| S len0 -> start :: (seq (S start) len0)

(** val repeat : 'a1 -> nat -> 'a1 list **)

let rec repeat x = function
| O -> []
| S k -> x :: (repeat x k)

type rank_class = { ranks : nat; slots : nat; speed : z; memory : z option }

type problem = { loads : z list; sizes : z list; classes : rank_class list;
                 replicas : nat }

(** val experts : problem -> nat **)

let experts p =
  length p.loads

(** val load : problem -> nat -> z **)

let load p e =
  nth e p.loads Z0

(** val size : problem -> nat -> z **)

let size p e =
  nth e p.sizes Z0

(** val sum : (nat -> z) -> nat list -> z **)

let sum f l =
  fold_right (fun e s -> Z.add (f e) s) Z0 l

(** val total_slots : problem -> nat **)

let total_slots p =
  fold_right (fun c s -> add (mul c.ranks c.slots) s) O p.classes

(** val full : problem -> bool **)

let full p =
  (&&) (Nat.eqb p.replicas (S O)) (Nat.eqb (total_slots p) (experts p))

(** val mem : nat -> nat list -> bool **)

let mem e l =
  existsb (Nat.eqb e) l

type item = { count : nat; options : (z * z) list }

(** val dominates : (z * z) -> (z * z) -> bool **)

let dominates x y =
  (&&) (Z.leb (fst x) (fst y)) (Z.leb (snd y) (snd x))

(** val ahead : (z * z) -> (z * z) -> bool **)

let ahead x y =
  match Z.compare (fst x) (fst y) with
  | Eq -> Z.leb (snd y) (snd x)
  | Lt -> true
  | Gt -> false

(** val join : (z * z) list -> (z * z) -> (z * z) list -> (z * z) list **)

let rec join l1 =
  let rec with_second last l2 =
    match l1 with
    | [] ->
      (match l2 with
       | [] -> []
       | y :: t2 ->
         if dominates last y
         then with_second last t2
         else y :: (with_second y t2))
    | x :: t1 ->
      (match l2 with
       | [] ->
         if dominates last x then join t1 last [] else x :: (join t1 x [])
       | y :: t2 ->
         if ahead x y
         then if dominates last x
              then join t1 last l2
              else x :: (join t1 x l2)
         else if dominates last y
              then with_second last t2
              else y :: (with_second y t2))
  in with_second

(** val before : z * z **)

let before =
  (Z0, (Zneg XH))

(** val add0 : z -> z -> (z * z) -> (z * z) list -> (z * z) list **)

let add0 limit0 worth option0 f =
  let (w, v) = option0 in
  filter (fun x -> Z.leb (fst x) limit0)
    (map (fun x -> ((Z.add w (fst x)), (Z.min (Z.add v (snd x)) worth))) f)

(** val extend :
    z -> z -> item -> (z * z) list -> (z * z) list -> (z * z) list **)

let extend limit0 worth i old source =
  fold_right (fun o new0 -> join (add0 limit0 worth o source) before new0)
    old i.options

(** val zip :
    ((z * z) list -> (z * z) list -> (z * z) list) -> (z * z) list list ->
    (z * z) list list -> (z * z) list list **)

let rec zip f l l' =
  match l with
  | [] -> []
  | x :: t0 -> (match l' with
                | [] -> []
                | y :: t' -> (f x y) :: (zip f t0 t'))

(** val table : z -> z -> nat -> item list -> (z * z) list list **)

let rec table limit0 worth slots0 = function
| [] -> ((Z0, Z0) :: []) :: (repeat [] slots0)
| i :: rest ->
  let t0 = table limit0 worth slots0 rest in
  zip (extend limit0 worth i) t0 (app (repeat [] i.count) t0)

(** val worth_at_most : z -> (z * z) list -> bool **)

let worth_at_most cap f =
  forallb (fun x -> Z.leb (snd x) cap) f

(** val within_cap : nat -> bool -> z -> z -> item list -> bool **)

let within_cap slots0 exact cap limit0 items =
  let t0 = table limit0 (Z.add cap (Zpos XH)) slots0 items in
  if exact
  then worth_at_most cap (nth slots0 t0 [])
  else forallb (worth_at_most cap) t0

type prices = { scale_p : z; scale_q : z; values : z list list;
                caps : z list; surrogate : (z * z) option }

type decided = { blocks : nat list list; apart : (nat * nat) list }

(** val undecided : problem -> decided **)

let undecided p =
  { blocks = (map (fun e -> e :: []) (seq O (experts p))); apart = [] }

(** val drop : nat -> nat list list -> nat list list **)

let drop e bs =
  filter (fun b -> negb (mem e b)) bs

(** val leaving_out :
    (nat * nat) list -> nat list list -> nat list list list **)

let rec leaving_out pairs bs =
  match pairs with
  | [] -> bs :: []
  | p :: rest ->
    let (a, b) = p in
    if (&&) (existsb (mem a) bs) (existsb (mem b) bs)
    then app (leaving_out rest (drop a bs)) (leaving_out rest (drop b bs))
    else leaving_out rest bs

(** val value : prices -> nat -> nat -> z **)

let value x e r =
  nth (sub r (S O)) (nth e x.values []) Z0

(** val scaled : problem -> prices -> nat -> nat -> z **)

let scaled p x e r =
  Z.div (Z.mul x.scale_p (load p e)) (Z.mul x.scale_q (Z.of_nat r))

(** val weight : problem -> prices -> nat -> nat -> z **)

let weight p x e r =
  match x.surrogate with
  | Some p0 ->
    let (a, b) = p0 in Z.add (Z.mul a (scaled p x e r)) (Z.mul b (size p e))
  | None -> scaled p x e r

(** val item_of : problem -> prices -> nat list -> item **)

let item_of p x b =
  { count = (length b); options =
    (map (fun r -> ((sum (fun e -> weight p x e r) b),
      (sum (fun e -> value x e r) b))) (seq (S O) p.replicas)) }

(** val limit : z -> prices -> rank_class -> z option **)

let limit t0 x c =
  let load_limit = Z.div (Z.mul (Z.mul x.scale_p t0) c.speed) x.scale_q in
  (match x.surrogate with
   | Some p0 ->
     let (a, b) = p0 in
     (match c.memory with
      | Some room -> Some (Z.add (Z.mul a load_limit) (Z.mul b room))
      | None -> if Z.eqb b Z0 then Some (Z.mul a load_limit) else None)
   | None -> Some load_limit)

(** val heaviest : item list -> z **)

let heaviest items =
  fold_right (fun i s ->
    Z.add (fold_right (fun o m -> Z.max (fst o) m) Z0 i.options) s) Z0 items

(** val kept_within :
    problem -> z -> prices -> rank_class -> z -> nat list list -> bool **)

let kept_within p t0 x c cap bs =
  let items = map (item_of p x) bs in
  within_cap c.slots (full p) cap
    (match limit t0 x c with
     | Some l -> l
     | None -> heaviest items) items

(** val check_class :
    problem -> z -> decided -> prices -> rank_class -> z -> bool **)

let check_class p t0 d x c cap =
  (&&) (Z.leb Z0 cap)
    (forallb (kept_within p t0 x c cap) (leaving_out d.apart d.blocks))

(** val check_caps :
    problem -> z -> decided -> prices -> rank_class list -> z list -> bool **)

let rec check_caps p t0 d x cs ys =
  match cs with
  | [] -> (match ys with
           | [] -> true
           | _ :: _ -> false)
  | c :: cs0 ->
    (match ys with
     | [] -> false
     | y :: ys0 ->
       (&&) (check_class p t0 d x c y) (check_caps p t0 d x cs0 ys0))

(** val demand : rank_class list -> z list -> z **)

let rec demand cs ys =
  match cs with
  | [] -> Z0
  | c :: cs0 ->
    (match ys with
     | [] -> Z0
     | y :: ys0 -> Z.add (Z.mul (Z.of_nat c.ranks) y) (demand cs0 ys0))

(** val supply : problem -> prices -> nat -> z **)

let supply p x e =
  fold_right (fun r m -> Z.min (Z.mul (Z.of_nat r) (value x e r)) m)
    (value x e (S O)) (seq (S (S O)) (sub p.replicas (S O)))

(** val nonnegative : z list -> bool **)

let nonnegative l =
  forallb (Z.leb Z0) l

(** val well_formed : problem -> prices -> bool **)

let well_formed p x =
  (&&)
    ((&&)
      ((&&)
        ((&&)
          ((&&) ((&&) (nonnegative p.loads) (nonnegative p.sizes))
            (Z.leb (Zpos XH) x.scale_p)) (Z.leb (Zpos XH) x.scale_q))
        (Nat.eqb (length x.values) (experts p)))
      (forallb (fun vs ->
        (&&) (Nat.eqb (length vs) p.replicas) (nonnegative vs)) x.values))
    (match x.surrogate with
     | Some p0 ->
       let (a, b) = p0 in
       (&&) ((&&) (Z.leb Z0 a) (Z.leb Z0 b))
         (Nat.eqb (length p.sizes) (experts p))
     | None -> true)

(** val check_prices : problem -> z -> decided -> prices -> bool **)

let check_prices p t0 d x =
  (&&)
    ((&&) (well_formed p x)
      (Z.ltb (demand p.classes x.caps) (sum (supply p x) (seq O (experts p)))))
    (check_caps p t0 d x p.classes x.caps)

(** val insert : ('a1 -> z) -> 'a1 -> 'a1 list -> 'a1 list **)

let rec insert w e l = match l with
| [] -> e :: []
| f :: t0 -> if Z.leb (w f) (w e) then e :: l else f :: (insert w e t0)

(** val sort : ('a1 -> z) -> 'a1 list -> 'a1 list **)

let sort w l =
  fold_right (insert w) [] l

(** val share : decided -> nat -> nat -> bool **)

let share d e f =
  existsb (fun b -> (&&) (mem e b) (mem f b)) d.blocks

(** val known : decided -> nat -> nat -> bool **)

let known d i j =
  (||) (share d i j)
    (existsb (fun q ->
      (||) ((&&) (share d (fst q) i) (share d (snd q) j))
        ((&&) (share d (fst q) j) (share d (snd q) i))) d.apart)

(** val touched : nat -> nat -> nat list -> bool **)

let touched i j b =
  (||) (mem i b) (mem j b)

(** val together : decided -> nat -> nat -> decided **)

let together d i j =
  { blocks =
    ((concat (filter (touched i j) d.blocks)) :: (filter (fun b ->
                                                   negb (touched i j b))
                                                   d.blocks)); apart =
    d.apart }

(** val separate : decided -> nat -> nat -> decided **)

let separate d i j =
  { blocks = d.blocks; apart = ((i, j) :: d.apart) }

module PositiveMap =
 struct
  type key = positive

  type 'a tree =
  | Leaf
  | Node of 'a tree * 'a option * 'a tree

  type 'a t = 'a tree

  (** val empty : 'a1 t **)

  let empty =
    Leaf

  (** val find : key -> 'a1 t -> 'a1 option **)

  let rec find i = function
  | Leaf -> None
  | Node (l, o, r) ->
    (match i with
     | XI ii -> find ii r
     | XO ii -> find ii l
     | XH -> o)

  (** val add : key -> 'a1 -> 'a1 t -> 'a1 t **)

  let rec add i v = function
  | Leaf ->
    (match i with
     | XI ii -> Node (Leaf, None, (add ii v Leaf))
     | XO ii -> Node ((add ii v Leaf), None, Leaf)
     | XH -> Node (Leaf, (Some v), Leaf))
  | Node (l, o, r) ->
    (match i with
     | XI ii -> Node (l, o, (add ii v r))
     | XO ii -> Node ((add ii v l), o, r)
     | XH -> Node (l, (Some v), r))
 end

type row = { left : (n * z) list; right : z; equality : bool }

type node =
| Decide of n
| Contradict of (n * z) list

(** val plus : (n * z) list -> (n * z) list -> (n * z) list **)

let rec plus l1 =
  let rec with_second l2 =
    match l1 with
    | [] -> l2
    | p :: t1 ->
      let (v, a) = p in
      (match l2 with
       | [] -> l1
       | p0 :: t2 ->
         let (u, b) = p0 in
         (match N.compare v u with
          | Eq -> (v, (Z.add a b)) :: (plus t1 t2)
          | Lt -> (v, a) :: (plus t1 l2)
          | Gt -> (u, b) :: (with_second t2)))
  in with_second

(** val scale : z -> (n * z) list -> (n * z) list **)

let scale m t0 =
  map (fun a -> ((fst a), (Z.mul m (snd a)))) t0

(** val nth_row : row list -> n -> row option **)

let nth_row rows i =
  if N.ltb i (N.of_nat (length rows))
  then nth_error rows (N.to_nat i)
  else None

(** val combine : row list -> (n * z) list -> ((n * z) list * z) option **)

let rec combine rows = function
| [] -> Some ([], Z0)
| p :: l0 ->
  let (i, m) = p in
  (match nth_row rows i with
   | Some r ->
     (match combine rows l0 with
      | Some p0 ->
        let (t0, b) = p0 in
        if (||) (Z.leb Z0 m) r.equality
        then Some ((plus (scale m r.left) t0), (Z.add (Z.mul m r.right) b))
        else None
      | None -> None)
   | None -> None)

type box = z PositiveMap.t

(** val fixed : box -> n -> z option **)

let fixed b v =
  PositiveMap.find (N.succ_pos v) b

(** val fix_at : box -> n -> z -> box **)

let fix_at b v a =
  PositiveMap.add (N.succ_pos v) a b

(** val minimum : box -> (n * z) list -> z **)

let minimum b t0 =
  fold_right (fun a s ->
    Z.add
      (match fixed b (fst a) with
       | Some c -> Z.mul (snd a) c
       | None -> Z.min (snd a) Z0) s) Z0 t0

(** val side : box option -> n -> z -> box option **)

let side b v a =
  match b with
  | Some b0 ->
    (match fixed b0 v with
     | Some c -> if Z.eqb a c then Some b0 else None
     | None -> Some (fix_at b0 v a))
  | None -> None

(** val check_leaf : row list -> box option -> (n * z) list -> bool **)

let check_leaf rows b l =
  match combine rows l with
  | Some p ->
    let (t0, r) = p in
    (match b with
     | Some b0 -> Z.ltb r (minimum b0 t0)
     | None -> true)
  | None -> false

(** val walk : n -> row list -> node list -> box option list -> bool **)

let rec walk variables0 rows nodes open0 =
  match nodes with
  | [] -> (match open0 with
           | [] -> true
           | _ :: _ -> false)
  | n0 :: nodes0 ->
    (match n0 with
     | Decide v ->
       (match open0 with
        | [] -> false
        | b :: open1 ->
          (&&) (N.ltb v variables0)
            (walk variables0 rows nodes0
              ((side b v Z0) :: ((side b v (Zpos XH)) :: open1))))
     | Contradict l ->
       (match open0 with
        | [] -> false
        | b :: open1 ->
          (&&) (check_leaf rows b l) (walk variables0 rows nodes0 open1)))

(** val zero_box : n list -> box **)

let zero_box zeros =
  fold_right (fun v b -> fix_at b v Z0) PositiveMap.empty zeros

(** val check_tree : n -> row list -> n list -> node list -> bool **)

let check_tree variables0 rows zeros nodes =
  walk variables0 rows nodes ((Some (zero_box zeros)) :: [])

(** val rank_list : problem -> rank_class list **)

let rank_list p =
  flat_map (fun c -> repeat c c.ranks) p.classes

(** val rank_count : problem -> nat **)

let rank_count p =
  length (rank_list p)

(** val unit0 : problem -> z **)

let unit0 p =
  fold_right (fun r m -> Z.lcm (Z.of_nat r) m) (Zpos XH)
    (seq (S O) p.replicas)

(** val variable : problem -> nat -> nat -> nat -> n **)

let variable p e r j =
  N.add
    (N.mul (N.add (N.mul (N.of_nat e) (N.of_nat p.replicas)) (N.of_nat r))
      (N.of_nat (rank_count p))) (N.of_nat j)

(** val variables : problem -> n **)

let variables p =
  N.mul (N.mul (N.of_nat (experts p)) (N.of_nat p.replicas))
    (N.of_nat (rank_count p))

(** val of_expert : problem -> (nat -> z) -> nat -> nat -> (n * z) list **)

let of_expert p coefficient e j =
  map (fun r -> ((variable p e r j), (coefficient r))) (seq O p.replicas)

(** val on_rank : problem -> (nat -> nat -> z) -> nat -> (n * z) list **)

let on_rank p coefficient j =
  flat_map (fun e -> of_expert p (coefficient e) e j) (seq O (experts p))

(** val expert_row : problem -> nat -> row **)

let expert_row p e =
  { left =
    (flat_map (fun r ->
      map (fun j -> ((variable p e r j),
        (Z.div (unit0 p) (Z.of_nat (add r (S O)))))) (seq O (rank_count p)))
      (seq O p.replicas)); right = (unit0 p); equality = true }

(** val rank_rows : problem -> z -> nat -> rank_class -> row list **)

let rank_rows p t0 j c =
  app ({ left =
    (on_rank p (fun e r ->
      Z.mul (Z.div (unit0 p) (Z.of_nat (add r (S O)))) (load p e)) j);
    right = (Z.mul (Z.mul (unit0 p) t0) c.speed); equality =
    false } :: ({ left = (on_rank p (fun _ _ -> Zpos XH) j); right =
    (Z.of_nat c.slots); equality = (full p) } :: []))
    (match c.memory with
     | Some room ->
       { left = (on_rank p (fun e _ -> size p e) j); right = room; equality =
         false } :: []
     | None -> [])

(** val all_rank_rows : problem -> z -> nat -> rank_class list -> row list **)

let rec all_rank_rows p t0 j = function
| [] -> []
| c :: cs0 -> app (rank_rows p t0 j c) (all_rank_rows p t0 (S j) cs0)

(** val once_rows : problem -> row list **)

let once_rows p =
  if Nat.ltb (S O) p.replicas
  then flat_map (fun e ->
         map (fun j -> { left = (of_expert p (fun _ -> Zpos XH) e j); right =
           (Zpos XH); equality = false }) (seq O (rank_count p)))
         (seq O (experts p))
  else []

(** val system : problem -> z -> row list **)

let system p t0 =
  app (map (expert_row p) (seq O (experts p)))
    (app (all_rank_rows p t0 O (rank_list p)) (once_rows p))

(** val by_load : problem -> nat list **)

let by_load p =
  sort (load p) (seq O (experts p))

(** val unused : problem -> nat -> rank_class list -> n list **)

let rec unused p first = function
| [] -> []
| c :: cs0 ->
  app
    (flat_map (fun i ->
      let bound = mul (add i (S O)) p.replicas in
      flat_map (fun j ->
        map (fun r -> variable p (nth i (by_load p) O) r (add first j))
          (seq O p.replicas)) (seq bound (sub c.ranks bound)))
      (seq O (experts p))) (unused p (add first c.ranks) cs0)

(** val check_branch : problem -> z -> node list -> bool **)

let check_branch p t0 nodes =
  check_tree (variables p) (system p t0) (unused p O p.classes) nodes

(** val ceil_div : z -> z -> z **)

let ceil_div a b =
  Z.opp (Z.div (Z.opp a) b)

(** val speeds : problem -> z **)

let speeds p =
  fold_right (fun c s -> Z.add (Z.mul (Z.of_nat c.ranks) c.speed) s) Z0
    p.classes

(** val total_load : problem -> z **)

let total_load p =
  sum (load p) (seq O (experts p))

(** val area_exceeds : problem -> z -> bool **)

let area_exceeds p t0 =
  Z.ltb (Z.mul t0 (speeds p)) (total_load p)

(** val last_sum : (nat -> z) -> nat -> nat list -> z **)

let last_sum w t0 l =
  sum w (skipn (sub (length l) t0) l)

(** val area : (nat -> z) -> nat -> nat list -> z **)

let area w m order =
  ceil_div (sum w order) (Z.of_nat m)

(** val pigeonhole : (nat -> z) -> nat -> nat -> nat list -> nat -> z **)

let pigeonhole w m k order q =
  Z.add (last_sum w (add q (S O)) (firstn (add (mul q m) (S O)) order))
    (last_sum w (sub (sub k q) (S O)) order)

(** val counting : (nat -> z) -> nat -> nat list -> nat -> z **)

let counting w k order j =
  ceil_div
    (Z.add (sum w (firstn j order)) (last_sum w (mul j (sub k (S O))) order))
    (Z.of_nat j)

(** val least_maximum : (nat -> z) -> nat -> nat -> nat list -> z **)

let least_maximum w m k order =
  fold_right Z.max (area w m order)
    (app (map (pigeonhole w m k order) (seq O k))
      (map (counting w k order) (seq (S O) m)))

(** val closed_form_exceeds : problem -> z -> bool **)

let closed_form_exceeds p t0 =
  match p.classes with
  | [] -> area_exceeds p t0
  | c :: l ->
    (match l with
     | [] ->
       if (&&)
            ((&&) ((&&) (full p) (Z.eqb c.speed (Zpos XH)))
              (negb (Nat.eqb c.ranks O))) (negb (Nat.eqb c.slots O))
       then Z.ltb t0
              (least_maximum (load p) c.ranks c.slots
                (sort (load p) (seq O (experts p))))
       else area_exceeds p t0
     | _ :: _ -> area_exceeds p t0)

type argument =
| ByPrices of prices
| BySplit of nat * nat * argument * argument
| ByBranch of node list

(** val most_separations : nat **)

let most_separations =
  S (S (S (S (S (S (S (S (S (S (S (S O)))))))))))

(** val check_under : problem -> z -> decided -> argument -> bool **)

let rec check_under p t0 d = function
| ByPrices x -> check_prices p t0 d x
| BySplit (i, j, same, other) ->
  (&&)
    ((&&)
      ((&&)
        ((&&)
          ((&&) ((&&) (Nat.eqb p.replicas (S O)) (Nat.ltb i (experts p)))
            (Nat.ltb j (experts p))) (negb (known d i j)))
        (Nat.ltb (length d.apart) most_separations))
      (check_under p t0 (together d i j) same))
    (check_under p t0 (separate d i j) other)
| ByBranch nodes -> check_branch p t0 nodes

(** val check_argument : problem -> z -> argument -> bool **)

let check_argument p t0 a =
  check_under p t0 (undecided p) a

(** val check_bound : problem -> z -> argument option -> bool **)

let check_bound p bound = function
| Some a0 -> check_argument p (Z.sub bound (Zpos XH)) a0
| None -> closed_form_exceeds p (Z.sub bound (Zpos XH))
